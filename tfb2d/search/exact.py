"""Exact search: the inner product with every vector, by NumPy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfb2d.search.catalogue import Catalogue
from tfb2d.search.fusion import Rows, ordered

DECIMALS = 6  # of scores: sums of floats in another order differ below, and equal vectors shall tie
_IN_MEMORY = (
    2**25
)  # values that are kept as float32 (128 MiB); of larger catalogues blocks are converted at each search


def scores_of(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the inner products of unit vectors `[n, dim]` with one of a query `[dim]`, rounded, float64 `[n]`."""
    return np.asarray(np.round((vectors @ query).astype(np.float64), DECIMALS), np.float64)


class Exact:
    """Searches all vectors of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._blocks: list[tuple[int, NDArray[np.float32]]] | None = None

    def search(self, query: NDArray[np.float32], k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns the k nearest rows, the nearest first; equal scores are ordered by row."""
        if self._blocks is None and self._catalogue.rows * self._catalogue.dim <= _IN_MEMORY:
            self._blocks = list(self._catalogue.blocks())
        scores = np.full(self._catalogue.rows, -np.inf)
        for start, vectors in self._blocks if self._blocks is not None else self._catalogue.blocks():
            scores[start : start + len(vectors)] = scores_of(vectors, query)
        live = np.flatnonzero(~deleted)
        return ordered(live, scores[live], k)[0]

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Does nothing: the catalogue holds the vectors."""

    def remove(self, rows: Rows) -> None:
        """Does nothing."""

    def save(self, path: Path) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Frees the vectors."""
        self._blocks = None
