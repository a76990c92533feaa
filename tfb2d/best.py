"""Picks the best rows by their scores, with one rule for equal scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


def best_rows(rows: NDArray[Any], scores: NDArray[Any], k: int) -> tuple[Rows, Floats]:
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
