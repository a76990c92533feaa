"""Picks the examples of a report: test rows on which the leading model agrees least, and most, with its teacher."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.data.task import Task
from tfb2d.evaluation.models import MODELS
from tfb2d.evaluation.results import RunResults
from tfb2d.evaluation.scores import check_labels, check_scores, distances, kind_of
from tfb2d.report.page import excerpt


def examples(run: RunResults) -> dict[str, Any]:
    """Picks the test rows on which the leading model and its teacher agree least, and most; without a teacher, its label.

    See `scores.distances`.
    """
    kind = kind_of(run.task)
    own = check_scores(kind, run.models[run.leading].scores)
    labels = check_labels(kind, run.labels, own)
    teacher = run.teacher_scores
    other = np.eye(own.shape[1])[labels.astype(np.int64)] if kind == "multiclass" else labels
    gaps = distances(own, other if teacher is None else teacher)
    known = np.flatnonzero(np.isfinite(gaps))
    order = known[np.argsort(gaps[known], kind="stable")]
    models = {"teacher": teacher} | {key: np.asarray(run.models[key].scores) for key in run.distilled}

    def shown(rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "texts": [
                    (name, excerpt(column[row])) for name, column in zip(run.task.fields, run.columns, strict=True)
                ],
                "label": label_text(run.task, labels[row]),
                "scores": [
                    {"key": key, **score_bar(run.task, scores[row])}
                    for key, scores in models.items()
                    if scores is not None
                ],
            }
            for row in map(int, rows)
        ]

    return {
        "of": MODELS[run.leading],
        "against": "label" if teacher is None else "teacher",
        "least": shown(order[::-1][: run.examples]),
        "most": shown(order[: run.examples]),
    }


def label_text(task: Task, label: float) -> str:
    """Returns a label as the user's files have it; "" of NaN, a row without a label."""
    if not np.isfinite(label):
        return ""
    if task.classes:
        return task.classes[int(label)]
    low, high = task.label_range or (0.0, 1.0)
    return f"{low + label * (high - low):g}"


def score_bar(task: Task, score: Any) -> dict[str, Any]:
    """Returns a row's score: the share of a bar that is filled, and the text beside it."""
    if np.ndim(score) == 0:
        return {"share": float(score), "text": f"{score:.3f}"}
    best = int(np.argmax(score))
    return {"share": float(score[best]), "text": f"{task.classes[best]} {score[best]:.3f}"}
