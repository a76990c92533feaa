"""An index at a moment: what a search reads from its beginning to its end."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfb2d.best import Floats, Rows, best_rows
from tfb2d.search.answer import SearchError
from tfb2d.search.backends import backend_class
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.exact import Exact, scores_of
from tfb2d.search.lexical import Lexical
from tfb2d.search.manifest import NAME, Manifest

REBUILD_DELETED = 0.2  # share of row numbers without a title at which a rebuild pays
REBUILD_ADDED = 0.5  # share of rows that came after the backend was trained


class Snapshot:
    """The manifest, the catalogue, BM25 and the backend that finds vectors, opened together; `open` makes one."""

    def __init__(self, folder: Path, manifest: Manifest, stamp: tuple[int, ...]) -> None:
        self.folder, self.manifest, self._stamp = folder, manifest, stamp
        self.catalogue = Catalogue(folder, manifest)
        self.lexical = Lexical(folder / manifest.lexical)
        self.backend = backend_class(manifest.backend).load(folder, manifest, self.catalogue)
        self._exact = self.backend if isinstance(self.backend, Exact) else Exact(self.catalogue)

    @classmethod
    def open(cls, folder: Path) -> "Snapshot":
        """Opens an index; builds nothing. Raises SearchError where it is missing, or a file of it is not whole."""
        for last in (False, True):
            stamp = _stamp(folder)
            manifest = Manifest.read(folder)
            try:
                return cls(folder, manifest, stamp)
            except SearchError:
                if last or _stamp(folder) == stamp:  # else an update has just replaced the files
                    raise
        raise AssertionError

    def is_current(self) -> bool:
        """Says whether the index is still this one."""
        return _stamp(self.folder) == self._stamp

    def gone_since(self, rows: Rows) -> NDArray[np.bool_]:
        """Says which rows were deleted or replaced since, bool `[n]`; none where the index was built anew."""
        now = Manifest.read(self.folder)
        gone = np.zeros(len(rows), bool)
        if now.catalogue == self.manifest.catalogue and now.deleted:
            gone = np.isin(rows, np.load(self.folder / now.deleted))
        return gone

    def nearest(self, query: NDArray[np.float32], k: int) -> tuple[Rows, Floats]:
        """Returns the k rows nearest to a unit vector `[dim]` and their scores, best first, by the backend.

        Where the backend finds fewer than there are, all vectors are searched.
        """
        deleted = self.catalogue.deleted
        enough = min(k, self.catalogue.live)
        rows = self.backend.search(query, k, deleted)
        if len(rows) < enough:
            rows = self._exact.search(query, k, deleted)
        return best_rows(rows, scores_of(self.catalogue.vectors(rows), query), k)

    def advice(self) -> list[str]:
        """Says when building the index anew is worth it."""
        manifest, notes = self.manifest, []
        if manifest.rows and manifest.n_deleted > REBUILD_DELETED * manifest.rows:
            notes.append(
                f"{manifest.n_deleted:,} of {manifest.rows:,} rows are deleted or replaced and cost time: a rebuild pays"
            )
        added = manifest.rows - manifest.trained_rows
        if manifest.backend == "ivfpq" and added > REBUILD_ADDED * max(manifest.rows, 1):
            notes.append(f"{added:,} of {manifest.rows:,} rows came after the index was trained: a rebuild pays")
        return notes

    def close(self) -> None:
        """Closes a backend's connection."""
        self.backend.close()


def _stamp(folder: Path) -> tuple[int, ...]:
    try:
        stat = os.stat(folder / NAME)
    except FileNotFoundError:
        return ()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
