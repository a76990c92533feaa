"""Scores of a model and labels of the same rows: checks, what the scores decide, and how far two models are apart.

Scores are probabilities: `[n]` of the positive side for binary and graded tasks, `[n, k]` for multi-class ones. Labels
are `[n]`: 0 or 1, a grade in [0, 1], or a class's index.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

KINDS = ("binary", "graded", "multiclass")
THRESHOLD = 0.5  # a score or grade from here on is a "yes"


def kind_of(task: Any) -> str:
    """Returns the kind of a Task, or of a kind's own name; raises ValueError where it is not among `KINDS`."""
    kind = getattr(task, "kind", task)
    if kind not in KINDS:
        raise ValueError(f"the task's kind is {kind!r}; there are {', '.join(KINDS)}")
    return str(kind)


def check_scores(kind: str, scores: ArrayLike, name: str = "scores") -> Floats:
    """Checks scores; returns them as float64, `[n]` or, of a multi-class task, `[n, k]`.

    Raises:
      ValueError: wrong shape, no rows, or a row that is no probability; the message counts them and names the first.
    """
    array = np.asarray(scores)
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise ValueError(f"{name} hold {array.dtype}; they must be numbers")
    array = array.astype(np.float64)
    expected, rank = ("[rows, classes]", 2) if kind == "multiclass" else ("[rows]", 1)
    if array.ndim != rank or 0 in array.shape:
        raise ValueError(f"{name} have the shape {list(array.shape)}; a {kind} task takes {expected}, none of them 0")
    wrong = ~(np.isfinite(array) & (array >= 0) & (array <= 1))
    if rank == 2:
        wrong = wrong.any(axis=1) | (np.abs(array.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"{name}: {wrong.sum()} rows are no probabilities, the first is row {first}: {array[first]}")
    return array


def check_labels(kind: str, labels: ArrayLike, scores: Floats) -> Floats:
    """Checks labels; returns them as float64 `[n]`, fit for the (checked) scores.

    Raises ValueError for another number of rows than the scores have, or a label outside the task's values.
    """
    array = np.asarray(labels)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise ValueError(f"labels hold {array.dtype}; they must be numbers")
    array = array.astype(np.float64)
    if array.shape != (len(scores),):
        raise ValueError(f"labels have the shape {list(array.shape)}; the scores have {len(scores)} rows")
    if kind == "binary":
        wrong, expected = ~np.isin(array, (0, 1)), "0 or 1"
    elif kind == "graded":
        wrong, expected = ~((array >= 0) & (array <= 1)), "in [0, 1]"
    else:
        wrong, expected = ~np.isin(array, np.arange(scores.shape[1])), f"a class from 0 to {scores.shape[1] - 1}"
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"labels: {wrong.sum()} rows are not {expected}, the first is row {first}: {array[first]}")
    return array


def decisions(scores: Floats) -> NDArray[np.int64]:
    """Returns what the scores decide, `[n]`: 1 from the threshold on, or the likeliest class."""
    return np.argmax(scores, axis=1) if scores.ndim == 2 else (scores >= THRESHOLD).astype(np.int64)


def hits(kind: str, labels: Floats, scores: Floats) -> Bools:
    """Says whether the scores decide as the labels do, `[n]`."""
    return decisions(scores) == (labels if kind == "multiclass" else labels >= THRESHOLD)


def agreement(teacher_scores: ArrayLike, student_scores: ArrayLike) -> Bools:
    """Says whether teacher and student decide alike, `[n]`; raises ValueError of scores that do not fit each other."""
    kind = "multiclass" if np.ndim(teacher_scores) == 2 else "binary"
    teacher = check_scores(kind, teacher_scores, "teacher_scores")
    student = check_scores(kind, student_scores, "student_scores")
    if teacher.shape != student.shape:
        raise ValueError(f"teacher_scores are {list(teacher.shape)}, student_scores {list(student.shape)}")
    return decisions(teacher) == decisions(student)


def distances(left: Floats, right: Floats) -> Floats:
    """Returns how far scores are apart, `[n]`: the total variation of distributions `[n, k]`."""
    gaps = np.abs(left - right)
    return gaps if gaps.ndim == 1 else gaps.sum(axis=1) / 2
