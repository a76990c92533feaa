"""Fuses ranked lists by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

K = 60  # the paper's constant: the larger, the less the first ranks count

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


def ordered(rows: NDArray[Any], scores: NDArray[Any], k: int) -> tuple[Rows, Floats]:
    """Returns the k best rows and their scores, or fewer, best first; equal scores are ordered by row.

    Rows `[n]` are each there once; a NaN among the scores `[n]` counts as the worst.
    """
    rows = np.asarray(rows, np.int64)
    scores = np.where(np.isnan(scores), -np.inf, scores).astype(np.float64)
    if 0 < k < len(rows):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        inside = scores >= least  # with all rows that tie at the end, so that the lowest of them stay
        rows, scores = rows[inside], scores[inside]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


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
    # Rounded, since the order in which floats are added would tell equal sums apart.
    return ordered(rows, np.round(np.bincount(places, parts, len(rows)), 12), len(rows))
