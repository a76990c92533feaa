"""What makes a comparison with a teacher doubtful: mostly scores of other rows, or of the other class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.metrics import THRESHOLD

MOST_RETENTION = 1.2  # a student rarely is so much better than what it learnt from


def doubts(task: Any, labels: ArrayLike, teacher: Mapping[str, float | None], retention: float | None) -> list[str]:
    """Says in whole sentences why a teacher's figures should not be believed before its scores were looked at.

    Args:
      task: the Task.
      labels: `[n]` of the rows that the teacher scored, n > 0.
      teacher: its metrics on these rows.
      retention: the student's accuracy over the teacher's, on these rows.

    Returns:
      One sentence a doubt, mostly none.
    """
    sentences = []
    if retention is not None and retention > MOST_RETENTION:
        sentences.append(
            f"The student's accuracy is {retention:.2f} times the teacher's: are the teacher's scores those of these "
            "rows, and logits or probabilities of the positive class?"
        )
    accuracy, constant = teacher.get("accuracy"), _majority(task, np.asarray(labels))
    if accuracy is not None and accuracy < constant:
        sentences.append(
            f"The teacher's accuracy is {accuracy:.3f}; always naming the most frequent class gives {constant:.3f}: "
            "its scores may be another class's, or on another scale."
        )
    return sentences


def _majority(task: Any, labels: np.ndarray) -> float:
    """Returns the accuracy of always naming the most frequent class."""
    if task.kind == "multiclass":
        return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    positive = float((labels >= THRESHOLD).mean())
    return max(positive, 1 - positive)
