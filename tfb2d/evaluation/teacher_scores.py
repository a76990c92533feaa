"""A teacher's scores of labelled rows, joined by text from files; warnings where they may be of other rows or classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.data.join import Matches, join_scores
from tfb2d.data.readers import AS_USUAL, Reading
from tfb2d.data.task import Task
from tfb2d.distill.stack import probabilities
from tfb2d.evaluation.scores import THRESHOLD, Floats

LEAST_SCORED = 0.5  # of the test split; figures of fewer rows say nothing of the others
MOST_RETENTION = 1.2  # above it, the teacher's scores probably belong to other rows


def teacher_scores(
    task: Task, files: Sequence[str | Path], columns: Sequence[Sequence[str]], reading: Reading = AS_USUAL
) -> tuple[Floats, Matches]:
    """Finds the probabilities that files hold for rows, given as one sequence of n texts a field.

    See `data.scores` for the files' columns, and `data.join` for matching. Returns (float64 `[n]` or, of a multi-class
    task, `[n, k]`, NaN where no file has a score for the text; how many matched). Raises DataError for a file that
    cannot be used, without such columns, with too many bad rows, or with scores of other rows.
    """
    logits, matches = join_scores(task, files, columns, reading=reading)
    scores = probabilities(logits).astype(np.float64)
    return (scores if task.kind == "multiclass" else scores[:, 0]), matches


def few_scored(scored: int, rows: int) -> list[str]:
    """Says in a sentence that a teacher's scores are those of few rows of the test split; none if they are of half."""
    if scored >= LEAST_SCORED * rows:
        return []
    return [
        f"The teacher has scores for {scored:,} of {rows:,} rows of the test split, fewer than half; it is not compared. "
        "If these rows were scored, their texts are written otherwise in the score files; the log shows two examples."
    ]


def teacher_warnings(
    task: Task, labels: ArrayLike, teacher: Mapping[str, float | None], retention: float | None, model: str = "student"
) -> list[str]:
    """Says in a sentence for each doubt why a teacher's scores should be checked.

    `labels` are those of the n > 0 rows that the teacher scored, `teacher` its metrics on them. `retention` is the
    accuracy of the `model`, "student" or "twin", over the teacher's.
    """
    sentences = []
    if retention is not None and retention > MOST_RETENTION:
        sentences.append(
            f"The {model}'s accuracy is {retention:.2f} times the teacher's: are the teacher's scores those of these "
            "rows, and logits or probabilities of the positive class?"
        )
    decided = np.asarray(labels) if task.kind == "multiclass" else np.asarray(labels) >= THRESHOLD
    constant = np.unique(decided, return_counts=True)[1].max() / len(decided)
    accuracy = teacher.get("accuracy")
    if accuracy is not None and accuracy < constant:
        sentences.append(
            f"The teacher's accuracy is {accuracy:.3f}; always naming the most frequent class gives {constant:.3f}: "
            "its scores may be another class's, or on another scale."
        )
    return sentences
