"""Describes a backend of vectors, and searches exactly: the inner product with every vector, by NumPy.

A backend proposes rows. Their scores are always computed from the catalogue's own vectors, as inner products: of unit
vectors, so the cosine, and larger is better. So all backends give the same scores, and what a library pads its answers
with (FAISS: -1), its sign and its own rounding never leave its module.
"""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tfb2d.best import Rows, best_rows
from tfb2d.search.catalogue import Catalogue, Vectors
from tfb2d.search.manifest import Manifest

DECIMALS = 6  # of scores: sums of floats in another order differ below, and equal vectors shall tie
_IN_MEMORY = 2**25  # values kept as float32 (128 MiB); a larger catalogue's blocks are converted at each search


class Backend:
    """Finds near rows; this one keeps nothing by itself.

    It may find fewer than k rows, or not the nearest: `Snapshot.nearest` completes and orders them.
    """

    @classmethod
    def create(cls, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Returns an empty index of the manifest's kind, trained on the catalogue where the kind needs it."""
        raise NotImplementedError

    @classmethod
    def load(cls, index: Path, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Returns a saved index; builds nothing. Raises SearchError where its file is missing or cut short."""
        return cls.create(manifest, catalogue)

    def search(self, query: Vectors, k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns about k live rows near a unit vector `[dim]`, each once, in any order.

        Raises SearchError where a server did not answer.
        """
        raise NotImplementedError

    def add(self, first: int, vectors: Vectors) -> None:
        """Adds unit vectors `[n, dim]` of the rows from `first` on."""

    def remove(self, rows: Rows) -> None:
        """Takes note that rows were deleted; the backend may hold them, as long as `search` leaves them out."""

    def save(self, path: Path) -> None:
        """Writes what the index holds, atomically."""

    def close(self) -> None:
        """Frees what the index holds."""


def scores_of(vectors: Vectors, query: Vectors) -> NDArray[np.float64]:
    """Returns the inner products of unit vectors `[n, dim]` with one of a query `[dim]`, rounded, float64 `[n]`."""
    return np.asarray(np.round((vectors @ query).astype(np.float64), DECIMALS), np.float64)


class Exact(Backend):
    """Searches all vectors of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._blocks: list[tuple[int, Vectors]] | None = None

    @classmethod
    def create(cls, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Returns the search of a catalogue."""
        return cls(catalogue)

    def search(self, query: Vectors, k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns the k nearest rows, the nearest first; equal scores are ordered by row."""
        if self._blocks is None and self._catalogue.rows * self._catalogue.dim <= _IN_MEMORY:
            self._blocks = list(self._catalogue.blocks())
        scores = np.full(self._catalogue.rows, -np.inf)
        for start, vectors in self._blocks if self._blocks is not None else self._catalogue.blocks():
            scores[start : start + len(vectors)] = scores_of(vectors, query)
        live = np.flatnonzero(~deleted)
        return best_rows(live, scores[live], k)[0]

    def close(self) -> None:
        """Frees the vectors."""
        self._blocks = None
