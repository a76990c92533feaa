"""Compares a student in service with its teacher, on a sample of its requests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.data.task import Task
from tfb2d.evaluation.bootstrap import draws, interval_of
from tfb2d.evaluation.metrics import Measure, correlation, mean_of
from tfb2d.evaluation.scores import Floats, decisions, distances
from tfb2d.monitor.drift import log_odds
from tfb2d.monitor.fresh import SampledRow
from tfb2d.probability import probabilities

RESAMPLES = 1000
LEAST = 10  # rows for an interval
EXAMPLES = 12


def compare(
    task: Task,
    sample: Sequence[SampledRow],
    logits: NDArray[np.float32],
    windows: Sequence[dict[str, Any]],
    length: int,
    seed: int,
    show_text: bool,
) -> dict[str, Any]:
    """Compares the logged scores of `n` rows with the teacher's logits `[n, k]`: over all, by version, and by window.

    Each of the windows, which are `length` seconds long, gets its "fidelity". Rows without a logit (NaN) do not count.
    Returns `{"fidelity": {"overall", "versions"}, "scatter": (teacher's scores, student's), "examples" with
    `show_text`}`.
    """
    scores = np.stack([item.scores for item in sample]).astype(np.float64)
    both: NDArray[np.bool_] = np.isfinite(np.concatenate([logits, scores], 1)).all(1)
    teacher = probabilities(logits.astype(np.float64))
    student = np.clip(scores[:, 0] if task.n_logits == 1 else scores, 0, 1)
    requests, times, versions = np.array([(item.request, item.time, item.version) for item in sample]).T

    def compared(rows: NDArray[np.bool_]) -> dict[str, Any]:
        rows = rows & both
        return fidelity(teacher[rows], student[rows], requests[rows], seed)

    for window in windows:
        window["fidelity"] = compared((times >= window["start"]) & (times < window["start"] + length))
    by_version = {str(version): compared(versions == version) for version in np.unique(versions)}
    result: dict[str, Any] = {
        "fidelity": {"overall": compared(both), "versions": by_version},
        "scatter": (teacher[both], student[both]),
    }
    if show_text:
        known = np.flatnonzero(both)
        furthest = known[np.argsort(-distances(teacher[known], student[known]))][:EXAMPLES]
        result["examples"] = [
            {
                "texts": dict(zip(task.fields, sample[row].texts, strict=True)),
                "teacher": teacher[row].tolist(),
                "student": student[row].tolist(),
            }
            for row in furthest
        ]
    return result


def fidelity(teacher: Floats, student: Floats, requests: NDArray[np.int64], seed: int = 0) -> dict[str, Any]:
    """Returns agreement of decisions, correlation of logits and mean distance of probabilities, with 95% intervals.

    Probabilities are `[n]`, or `[n, k]`. The bootstrap draws requests, not rows, since the titles of one query are not
    independent; `requests`, `[n]`, are equal for rows of the same request.

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
