"""Indexes over given vectors, for tests that need no model."""

import dataclasses
from pathlib import Path

import faiss
import numpy as np

from tfb2d.search.backends import settle
from tfb2d.search.catalogue import PART_ROWS, write_part
from tfb2d.search.indexing import finish
from tfb2d.search.manifest import Manifest
from tfb2d.search.models import Identity
from tfb2d.search.snapshot import Snapshot

faiss.omp_set_num_threads(1)  # its threads spin while they wait, which slows all else on a small machine


def unit(rows: int, dim: int = 32, seed: int = 0, clusters: int = 0) -> np.ndarray:
    """Random unit vectors, spread evenly or around some centres, as embeddings are."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, dim)).astype(np.float32)
    if clusters:
        centres = np.random.default_rng(99).normal(size=(clusters, dim))
        vectors = (centres[rng.integers(clusters, size=rows)] + 0.7 * vectors).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_index(folder: Path, vectors: np.ndarray, backend: str, dtype: str = "float32", **parameters) -> Snapshot:
    """Writes an index whose titles are "title 0", ..., and opens it."""
    catalogue = folder / "catalogue-00000000"
    catalogue.mkdir(parents=True)
    parts = []
    for start in range(0, len(vectors), PART_ROWS):
        some = vectors[start : start + PART_ROWS]
        names = [str(start + place) for place in range(len(some))]
        path = catalogue / f"part-{len(parts):05d}.parquet"
        parts.append(write_part(path, names, [f"title {name}" for name in names], some, dtype))
    manifest = Manifest(catalogue.name, tuple(parts), vectors.shape[1], dtype, Identity("none"), "exact")
    kind, settled = settle(backend, len(vectors), vectors.shape[1], parameters)
    manifest = dataclasses.replace(manifest, backend=kind, parameters=settled)
    finish(folder, manifest, progress=False)
    return Snapshot.open(folder)


def delete(snapshot: Snapshot, rows: list[int]) -> Snapshot:
    """Deletes rows, and opens the index anew."""
    from tfb2d.search.indexing import update

    update(snapshot.folder, None, snapshot.catalogue.ids(np.array(rows)), progress=False)
    return Snapshot.open(snapshot.folder)
