"""Compares a student in service with its teacher, on a sample of its requests."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.evaluation.bootstrap import percentile_interval
from tfb2d.evaluation.scores import decisions, distances
from tfb2d.monitor.drift import log_odds

Floats = NDArray[np.float64]
RESAMPLES = 1000
LEAST = 10  # rows for an interval


def fidelity(
    teacher: Floats, student: Floats, requests: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Returns agreement of decisions, correlation of logits and mean distance of probabilities, with 95% intervals.

    The bootstrap draws requests, not rows, since the titles of one query are not independent.

    Args:
      teacher, student: probabilities `[n]`, or `[n, k]`.
      requests: `[n]`, equal for rows of the same request.
      resamples: of the bootstrap.
      seed: of its draws.

    Returns:
      `{"rows", "agreement", "correlation", "distance"}`; the last three are `{"value", "ci95"}`, None where undefined.
      Logits are the log-odds of served probabilities; of several classes, log-probabilities about their mean. The
      distance of several classes is the total variation.
    """
    rows = len(requests)
    if not rows:
        nothing = {"value": None, "ci95": None}
        return {"rows": 0, "agreement": nothing, "correlation": nothing, "distance": nothing}
    alike = (decisions(teacher) == decisions(student)).astype(np.float64)
    gaps = distances(teacher, student)
    x, y = _centred(teacher), _centred(student)
    # Sums by row: every figure of a resample is a product of them and of how often each row was drawn.
    sums = np.stack(
        [np.ones(rows), alike, gaps, *(part.sum(1) for part in (x, y, x * x, y * y, x * y)), np.full(rows, x.shape[1])],
        1,
    )
    codes = np.unique(requests, return_inverse=True)[1]
    units = np.zeros((codes.max() + 1, sums.shape[1]))
    np.add.at(units, codes, sums)
    values = _figures(units.sum(0, keepdims=True))
    samples: Mapping[str, Floats] = {}
    if rows >= LEAST and len(units) > 1:
        random = np.random.default_rng(seed)
        even = np.full(len(units), 1 / len(units))
        samples = _figures(
            np.concatenate([random.multinomial(len(units), even, 50) @ units for _ in range(resamples // 50)])
        )
    return {"rows": rows, **{name: _interval(value[0], samples.get(name)) for name, value in values.items()}}


def _centred(scores: Floats) -> Floats:
    if scores.ndim == 1:
        return log_odds(scores)[:, None]
    logs = np.log(np.clip(scores, 1e-9, 1))
    return logs - logs.mean(1, keepdims=True)


def _figures(sums: Floats) -> dict[str, Floats]:
    rows, alike, gaps, x, y, xx, yy, xy, n = sums.T
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    moves = spread > 1e-9 * n * n
    correlation = np.divide(n * xy - x * y, spread, out=np.full(len(n), np.nan), where=moves)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"agreement": alike / rows, "correlation": correlation, "distance": gaps / rows}


def _interval(value: float, samples: Floats | None) -> dict[str, Any]:
    if not np.isfinite(value):
        return {"value": None, "ci95": None}
    return {"value": float(value), "ci95": None if samples is None else percentile_interval(samples)}
