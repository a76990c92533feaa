"""Approximate search by FAISS: HNSW graphs, inverted lists with product quantisation, a scalar quantiser.

What FAISS does otherwise than one would guess, and what is done about it here:

* `search` pads with the id -1: such places are left out.
* HNSW cannot delete, and removing from a flat index shifts the numbers of the others. FAISS's own numbers are the
  catalogue's rows: nothing is ever removed, and deleted rows are left out of what is found.
* An 8-bit quantiser that is trained clips what lies outside of its training rows. `QT_8bit_direct` stores unit vectors as
  zeros. int8 vectors go through `QT_8bit_direct_signed` times 127, which stores them exactly.
* At widths such as 32, 64 and 128 that quantiser cuts the query to whole numbers, too. It is given times 127 and rounded,
  and the rows that come back are scored again with the query as it is (`Snapshot.nearest`).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import faiss as library
import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import atomic_path
from tfb2d.best import Rows
from tfb2d.errors import UserError
from tfb2d.search.answer import REPAIR, SearchError
from tfb2d.search.catalogue import SCALE, Catalogue
from tfb2d.search.exact import Backend
from tfb2d.search.manifest import Manifest

faiss: Any = library  # its types are generated and incomplete
_MORE = 1.25  # rows asked for: a rounded query orders the last ones otherwise
_EFFORT = 16  # times the usual at which the index is given up
_IVF_ROWS = 10_000  # fewer are no training set for 256 centroids a byte
_TRAINING = 64  # rows per inverted list; FAISS warns below 39


def ivfpq_parameters(rows: int, dim: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in the parameters of inverted lists that are 0.

    Raises UserError for too few titles, or for bytes that do not divide the width.
    """
    if rows < _IVF_ROWS:
        raise UserError(f"ivfpq needs {_IVF_ROWS:,} titles to learn from, and there are {rows:,}; use exact or hnsw")
    code = given["bytes"] or next(size for size in range(max(dim // 4, 1), 0, -1) if dim % size == 0)
    if dim % code:
        raise UserError(f"ivfpq: {code} bytes do not divide vectors of {dim} numbers")
    lists = given["lists"] or min(rows // 100, 2 ** round(math.log2(4 * math.sqrt(rows))))
    return {**given, "bytes": code, "lists": lists, "probes": given["probes"] or max(8, lists // 32)}


class Faiss(Backend):
    """An index in this process's memory; `parameters` are those that a search reads."""

    def __init__(self, index: Any, manifest: Manifest) -> None:
        self._index = index
        self._kind, self._dtype = manifest.backend, manifest.dtype
        self.parameters = dict(manifest.parameters)

    @classmethod
    def create(cls, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Returns an empty index; one of inverted lists is trained on rows of the catalogue."""
        dim, options = manifest.dim, manifest.parameters
        kinds = {"int8": faiss.ScalarQuantizer.QT_8bit_direct_signed, "float16": faiss.ScalarQuantizer.QT_fp16}
        quantiser, inner = kinds.get(manifest.dtype), faiss.METRIC_INNER_PRODUCT
        if manifest.backend == "ivfpq":
            index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, options["lists"], options["bytes"], 8, inner)
            live = catalogue.live_rows()
            sample = np.linspace(0, len(live) - 1, min(len(live), _TRAINING * options["lists"])).astype(int)
            index.pq.cp.niter, index.pq.cp.max_points_per_centroid = 10, 64  # more cost minutes and bring nothing here
            index.train(catalogue.vectors(live[sample]))
        elif manifest.backend == "hnsw":
            if quantiser is None:
                index = faiss.IndexHNSWFlat(dim, options["m"], inner)
            else:
                index = faiss.IndexHNSWSQ(dim, quantiser, options["m"], inner)
            index.hnsw.efConstruction = options["ef_construction"]
        elif quantiser is None:
            index = faiss.IndexFlatIP(dim)
        else:
            index = faiss.IndexScalarQuantizer(dim, quantiser, inner)
        return cls(index, manifest)

    @classmethod
    def load(cls, index: Path, manifest: Manifest, catalogue: Catalogue) -> Self:
        """Reads what `save` wrote; see `Backend`."""
        path = index / manifest.vectors
        try:
            if (size := path.stat().st_size) != (expected := manifest.files[path.name]):
                raise ValueError(f"{size:,} bytes instead of {expected:,}")
            loaded = faiss.read_index(str(path))
            if loaded.ntotal != manifest.rows:
                raise ValueError(f"{loaded.ntotal:,} vectors instead of {manifest.rows:,}")
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise SearchError(f"{path} is not whole ({error}); {REPAIR}") from error
        return cls(loaded, manifest)

    def search(self, query: NDArray[np.float32], k: int, deleted: NDArray[np.bool_]) -> Rows:
        """Returns about k near rows.

        Deleted rows are found, too, and left out; where too few others are among the rows, more are asked for. FAISS can
        leave rows out by itself, but its HNSW then stops at the first `ef_search` rows that it meets, deleted or not.
        """
        total = self._index.ntotal
        count = int(k * (self.parameters.get("refine") or _MORE))
        enough = min(k, total - int(deleted.sum()))
        effort = 1
        while True:
            count = min(count, total)
            if not count:
                return np.zeros(0, np.int64)
            options = self._options(count, effort)
            rows = self._index.search(self._scaled(query[None]), count, params=options)[1][0]
            rows = rows[rows >= 0]
            live = rows[~deleted[rows]]
            if len(live) >= enough or effort >= _EFFORT:
                return live  # the caller searches all vectors where these are too few
            count, effort = 2 * count, 2 * effort

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Adds the vectors of the rows from `first` on, which must be the next ones."""
        if first != self._index.ntotal:
            raise SearchError(f"row {first} cannot follow {self._index.ntotal} vectors")
        self._index.add(self._scaled(vectors))

    def save(self, path: Path) -> None:
        """Writes the index, atomically; raises OSError where it cannot be written."""
        with atomic_path(path) as temporary:
            try:
                faiss.write_index(self._index, str(temporary))
            except RuntimeError as error:  # FAISS's for all that goes wrong
                raise OSError(f"{path} cannot be written: {error}") from error

    def close(self) -> None:
        """Frees the index."""
        self._index = None

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._dtype == "int8" and self._kind != "ivfpq":
            return np.rint(vectors * np.float32(SCALE)).astype(np.float32)
        return np.ascontiguousarray(vectors, np.float32)

    def _options(self, count: int, effort: int) -> Any:
        if self._kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(self.parameters["ef_search"], count))
        if self._kind == "ivfpq":
            return faiss.SearchParametersIVF(nprobe=min(self.parameters["probes"] * effort, self.parameters["lists"]))
        return None
