"""Warnings about implausible comparisons with a teacher: its scores may belong to other rows or another class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.scores import THRESHOLD

LEAST_SCORED = 0.5  # of the test split; figures of fewer rows say nothing of the others
MOST_RETENTION = 1.2  # above it, the teacher's scores probably belong to other rows


def few_scored(scored: int, rows: int) -> list[str]:
    """Says in a sentence that a teacher's scores are those of few rows of the test split; none if they are of half."""
    if scored >= LEAST_SCORED * rows:
        return []
    return [
        f"The teacher has scores for {scored:,} of {rows:,} rows of the test split, fewer than half; it is not compared. "
        "If these rows were scored, their texts are written otherwise in the score files; the log shows two examples."
    ]


def teacher_warnings(
    task: Any,
    labels: ArrayLike,
    teacher: Mapping[str, float | None],
    retention: float | None,
    model: str = "student",
) -> list[str]:
    """Says in whole sentences why a teacher's scores should be checked.

    Args:
      task: the Task.
      labels: `[n]` of the rows that the teacher scored, n > 0.
      teacher: its metrics on these rows.
      retention: the model's accuracy over the teacher's, on these rows.
      model: what it is: "student" or "twin".

    Returns:
      A sentence for each doubt; none where the figures are plausible.
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
