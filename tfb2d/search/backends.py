"""Finds the rows whose vectors are nearest to a query's: the protocol, and which backends there are.

A backend proposes rows. Their scores are always computed from the catalogue's own vectors, as inner products: of unit
vectors, so the cosine, and larger is better. So all backends give the same scores, and what a library pads its answers
with (FAISS: -1), its sign and its own rounding never leave its module.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfb2d.errors import UserError
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.fusion import Rows
from tfb2d.search.manifest import Manifest

BACKENDS = ("exact", "hnsw", "ivfpq", "sq", "milvus")
EXACT_ROWS = 100_000  # titles up to which "auto" searches all of them; beyond, by HNSW
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "exact": {},
    "hnsw": {"m": 16, "ef_construction": 100, "ef_search": 128},
    "ivfpq": {"lists": 0, "bytes": 0, "probes": 0, "refine": 8},  # 0: by the number of titles, by the vectors' width
    "sq": {},
    "milvus": {"m": 16, "ef_construction": 200, "ef_search": 128, "index_type": "HNSW"},
}


class Index(Protocol):
    """Finds near rows.

    Implementations may find fewer than k rows, or not the nearest: `Snapshot.nearest` completes and orders them.
    """

    def search(self, query: NDArray[np.float32], k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns about k rows near a unit vector `[dim]`, each once, none of them deleted, in any order.

        Raises:
          SearchError: a server did not answer.
        """

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Adds unit vectors `[n, dim]` of the rows from `first` on."""

    def remove(self, rows: Rows) -> None:
        """Takes note that rows were deleted; the backend may still hold them, as long as `search` leaves them out."""

    def save(self, path: Path) -> None:
        """Writes what the index holds; backends that keep nothing in files do nothing."""

    def close(self) -> None:
        """Frees what the index holds."""


def settle(backend: str, rows: int, dim: int, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the backend and its parameters.

    Args:
      backend: one of `BACKENDS`, or "auto".
      rows: titles of the catalogue.
      dim: width of the vectors.
      given: parameters that the user set.

    Raises:
      UserError: a parameter that the backend lacks, or too few titles for it.
    """
    if backend == "auto":
        backend = "exact" if rows <= EXACT_ROWS else "hnsw"
    known = {**DEFAULTS[backend], **({"uri": ""} if backend == "milvus" else {})}
    for name in given:
        if name not in known:
            raise UserError(f"{backend} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
    parameters = {**known, **given}
    if backend == "ivfpq":
        from tfb2d.search.faiss_index import ivfpq_parameters

        parameters = ivfpq_parameters(rows, dim, parameters)
    if backend == "milvus" and not parameters["uri"]:
        raise UserError(
            "--backend=milvus needs --milvus=URI: http://host:19530 of a server, or the path of a local file"
        )
    return backend, parameters


def create(manifest: Manifest, catalogue: Catalogue) -> Index:
    """Returns an empty index of the manifest's kind, trained on the catalogue where the kind needs it."""
    if manifest.backend == "exact":
        from tfb2d.search.exact import Exact

        return Exact(catalogue)
    if manifest.backend == "milvus":
        from tfb2d.search.milvus_index import Milvus

        return Milvus.create(manifest)
    from tfb2d.search.faiss_index import Faiss

    return Faiss.create(manifest, catalogue)


def load(index: Path, manifest: Manifest, catalogue: Catalogue) -> Index:
    """Returns the index that was saved; nothing is built.

    Raises:
      SearchError: its file is missing or was cut short.
    """
    if manifest.backend == "exact":
        from tfb2d.search.exact import Exact

        return Exact(catalogue)
    if manifest.backend == "milvus":
        from tfb2d.search.milvus_index import Milvus

        return Milvus(manifest)
    from tfb2d.search.faiss_index import Faiss

    return Faiss.load(index / manifest.vectors, manifest)
