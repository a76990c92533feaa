"""Fuses ranked lists by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfb2d.best import Floats, Rows, best_rows

K = 60  # the paper's constant: the larger, the less the first ranks count


def ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Returns the rank of each score of a falling list, counted from 1; equal scores have the same: 1, 2, 2, 4."""
    if not len(scores):
        return np.zeros(0, np.int64)
    new = np.concatenate(([True], scores[1:] != scores[:-1]))
    return np.maximum.accumulate(np.where(new, np.arange(1, len(scores) + 1), 0))


def fuse(lists: Sequence[tuple[Rows, Floats]]) -> tuple[Rows, Floats]:
    """Returns all rows of the legs' lists by falling sum of `1 / (K + rank)`; equal sums are ordered by row."""
    if not lists:
        return np.zeros(0, np.int64), np.zeros(0)
    rows, places = np.unique(np.concatenate([rows for rows, _ in lists]), return_inverse=True)
    parts = np.concatenate([1 / (K + ranks(scores)) for _, scores in lists])
    # Rounded, since the order in which floats are added would make equal sums differ.
    return best_rows(rows, np.round(np.bincount(places, parts, len(rows)), 12), len(rows))
