"""Compares a student in service with its teacher, on a sample of its requests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.evaluation.bootstrap import draws, interval_of
from tfb2d.evaluation.metrics import Measure, correlation, mean_of
from tfb2d.evaluation.scores import Floats, decisions, distances
from tfb2d.monitor.drift import log_odds

RESAMPLES = 1000
LEAST = 10  # rows for an interval


def fidelity(teacher: Floats, student: Floats, requests: NDArray[np.int64], seed: int = 0) -> dict[str, Any]:
    """Returns agreement of decisions, correlation of logits and mean distance of probabilities, with 95% intervals.

    The bootstrap draws requests, not rows, since the titles of one query are not independent.

    Args:
      teacher, student: probabilities `[n]`, or `[n, k]`.
      requests: `[n]`, equal for rows of the same request.
      seed: of the bootstrap's draws.

    Returns:
      `{"rows", "agreement", "correlation", "distance"}`; the last three are `{"value", "ci95"}`, None where undefined.
      Logits are the log-odds of served probabilities; of several classes, log-probabilities about their mean. The
      distance of several classes is the total variation.
    """
    rows = len(requests)
    if not rows:
        return {"rows": 0} | {
            name: interval_of(np.array([np.nan])) for name in ("agreement", "correlation", "distance")
        }
    logits, own_logits = _logits(teacher), _logits(student)
    measures: dict[str, Measure] = {
        "agreement": mean_of((decisions(teacher) == decisions(student)).astype(np.float64)),
        "correlation": lambda counts: correlation(
            np.repeat(counts, logits.shape[1], axis=1), logits.ravel(), own_logits.ravel()
        ),
        "distance": mean_of(distances(teacher, student)),
    }
    codes = np.unique(requests, return_inverse=True)[1]
    units = int(codes.max()) + 1
    resamples = RESAMPLES if rows >= LEAST and units > 1 else 0
    chunks = []
    for drawn in draws(units, resamples, seed, logits.size):
        counts = drawn[:, codes]
        chunks.append([measure(counts) for measure in measures.values()])
    figures = zip(measures, np.concatenate(chunks, axis=1), strict=True)
    return {"rows": rows} | {name: interval_of(values) for name, values in figures}


def _logits(scores: Floats) -> Floats:
    """Returns logits `[n, 1]`, or `[n, k]` less their mean."""
    if scores.ndim == 1:
        return log_odds(scores)[:, None]
    logs = np.log(np.clip(scores, 1e-9, 1))
    return logs - logs.mean(1, keepdims=True)
