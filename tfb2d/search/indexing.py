"""Builds an index, mends one, and changes one; each change appears whole, by a new `index.json`."""

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tfb2d.atomic import atomic_path
from tfb2d.errors import DataError
from tfb2d.runs import locked
from tfb2d.search import lexical
from tfb2d.search.answer import SearchError
from tfb2d.search.backends import backend_class, settle
from tfb2d.search.catalogue import Catalogue, mend_copy, read_part, write_part
from tfb2d.search.embedding import append_parts, embed_catalogue
from tfb2d.search.manifest import NAME, Manifest, clean
from tfb2d.search.models import Model
from tfb2d.search.snapshot import Snapshot
from tfb2d.search.titles import Source, Title

_log = logging.getLogger(__name__)


class Changes(NamedTuple):
    """Counts what an update did: titles by what became of them, and ids to delete that the catalogue does not have."""

    added: int
    replaced: int
    unchanged: int
    deleted: int
    unknown: tuple[str, ...]
    manifest: Manifest


def build(
    index: Path,
    source: Source,
    model_name: str,
    *,
    dtype: str = "float16",
    backend: str = "auto",
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Manifest:
    """Builds an index over the titles of files. What is done is skipped, what was killed is resumed.

    Embeddings are made anew only where files, model or dtype have changed. Until the new index is whole the old one
    stays and can be searched. An index of the same titles that was updated since keeps its updates. `model_name` is the
    twin, see `Model`; `backend` and `parameters` are those of `backends.settle`. Raises DataError for files that cannot
    be used; UserError for a model or settings that cannot work.
    """
    with contextlib.closing(Model(model_name, timeout=60.0)) as model:
        identity = model.identity()
        with locked(index):
            before = Manifest.read(index) if (index / NAME).exists() else None
            name, embedded = embed_catalogue(index, source, model, identity, dtype, progress=progress)
            fresh = Manifest(name, embedded.as_parts(), embedded.dim, dtype, identity, backend="exact", version=0)
            same = before if before is not None and before.catalogue == name else fresh  # with its updates, if any
            kind, settled = settle(backend, same.rows, same.dim, parameters or {})
            if same is before and (same.backend, same.parameters) == (kind, settled) and _whole(index):
                _log.info("the index is whole; nothing was to be done")
                return same
            version = 1 if before is None else before.version + 1
            after = dataclasses.replace(same, model=identity, backend=kind, parameters=settled, version=version)
            after = finish(index, after, progress=progress)
            if before is not None and before.catalogue != name:
                _forget(before)
            return after


def _forget(before: Manifest) -> None:
    """Deletes what an index that is no longer used has outside of its folder."""
    if before.backend == "milvus":
        from tfb2d.search.milvus_index import Milvus

        with contextlib.closing(Milvus(before)) as collection:
            try:
                collection.drop()
            except SearchError as error:
                _log.warning("the collection of the index before could not be deleted: %s", error)


def derive(
    source: Path, index: Path, *, dtype: str, backend: str, parameters: Mapping[str, Any], progress: bool = True
) -> Manifest:
    """Makes an index of the vectors of another, which has float32 ones, with the same BM25 index; to compare backends.

    The arguments are those of `build`; `source` is the folder of the other index.
    """
    before = Manifest.read(source)
    kind, settled = settle(backend, before.rows, before.dim, parameters)
    with locked(index):
        parts = []
        for part in before.parts:
            table = read_part(source / before.catalogue / part.file)
            vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(part.rows, before.dim)
            ids, titles = table["id"].to_pylist(), table["title"].to_pylist()
            parts.append(write_part(index / before.catalogue / part.file, ids, titles, vectors, dtype))
        fresh = dataclasses.replace(before, parts=tuple(parts), dtype=dtype, backend=kind, parameters=settled)
        shutil.rmtree(index / before.lexical, ignore_errors=True)
        shutil.copytree(source / before.lexical, index / before.lexical, copy_function=os.link)
        return finish(index, fresh, words=False, progress=progress)


def update(
    index: Path, source: Source | None = None, deleted: Sequence[str] = (), *, model: str = "", progress: bool = True
) -> Changes:
    """Adds, replaces and deletes titles, without embedding any other title again.

    Row numbers are never used twice: a replaced title gets a new one. The vectors' index is added to. BM25 is counted
    anew, since the weight of each word depends on all titles; that takes seconds per million. The twin is by default
    the one that the index was built with. Raises SearchError where there is no index, or the model is another version;
    DataError for files that cannot be used, or an id that is both added and deleted.
    """
    with locked(index):
        before = Manifest.read(index)
        catalogue = Catalogue(index, before)
        titles = list(source.read(source.paths(), index / "rejected.jsonl")) if source else []
        gone = set(deleted)
        if both := [title.id for title in titles if title.id in gone]:
            raise DataError(f"the id {both[0]!r} is both added and deleted")
        rows, texts = _look_up(catalogue, {title.id for title in titles} | gone)
        new = [title for title in titles if texts.get(title.id) != title.title]
        replaced = [title for title in new if title.id in rows]
        unknown = tuple(sorted(gone - rows.keys()))
        out = np.array(sorted([rows[t.id] for t in replaced] + [rows[key] for key in gone if key in rows]), np.int64)
        counts = (len(new) - len(replaced), len(replaced), len(titles) - len(new), len(gone) - len(unknown), unknown)
        if not len(out) and not new:
            return Changes(*counts, before)
        parts = [*before.parts, *_embed_new(index, before, new, model)]
        version = before.version + 1
        every = np.union1d(np.flatnonzero(catalogue.deleted), out)
        file = ""
        if len(every):
            file = f"deleted-{version:04d}.npy"
            with atomic_path(index / file) as temporary, temporary.open("wb") as out_file:
                np.save(out_file, every)
        after = dataclasses.replace(before, parts=tuple(parts), deleted=file, n_deleted=len(every), version=version)
        return Changes(*counts, finish(index, after, before, out, progress=progress))


def _embed_new(index: Path, before: Manifest, new: Sequence[Title], model_name: str) -> list[Any]:
    if not new:
        return []
    with contextlib.closing(Model(model_name or before.model.model, timeout=60.0)) as model:
        before.model.check(model.identity())
        return append_parts(index / before.catalogue, len(before.parts), new, model, before.dtype)


def _look_up(catalogue: Catalogue, ids: set[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Returns row and title of the ids that the catalogue has."""
    rows, texts = {}, {}
    for start, keys, titles in catalogue.all_ids():
        for offset, key in enumerate(keys):
            if key in ids and not catalogue.deleted[start + offset]:
                rows[key], texts[key] = start + offset, titles[offset]
    return rows, texts


def finish(
    index: Path,
    after: Manifest,
    before: Manifest | None = None,
    out: NDArray[np.int64] | None = None,
    *,
    words: bool = True,
    progress: bool,
) -> Manifest:
    """Makes BM25 and the vectors' index of a catalogue, then writes `index.json` and deletes what it replaces.

    `after` is the manifest, whose catalogue is whole. With the manifest `before`, its vectors' index is added to, and
    `out` are the rows that were deleted since. Without `words`, the manifest's BM25 is there already.
    """
    for part in after.parts:
        mend_copy(index / after.catalogue / part.file, part.rows)
    catalogue = Catalogue(index, after)
    if words:
        after = dataclasses.replace(after, lexical=f"bm25-{after.version:04d}")
        lexical.write(index / after.lexical, catalogue.live_titles())
    after = dataclasses.replace(after, vectors="", files={})
    if before is None:
        backend, begin = backend_class(after.backend).create(after, catalogue), 0
        after = dataclasses.replace(after, trained_rows=after.rows)
    else:
        backend = backend_class(after.backend).load(index, before, catalogue)
        begin = before.rows
    try:
        quiet, total = not progress or after.backend == "exact", after.rows - begin
        with tqdm(total=total, desc=after.backend, unit=" rows", unit_scale=True, disable=quiet) as bar:
            for start, vectors in catalogue.blocks(begin):
                backend.add(start, vectors)
                bar.update(len(vectors))
        backend.remove(np.flatnonzero(catalogue.deleted) if out is None else out)
        path = index / f"vectors-{after.version:04d}.faiss"
        backend.save(path)
    finally:
        backend.close()
    if path.exists():
        after = dataclasses.replace(after, vectors=path.name, files={path.name: path.stat().st_size})
    after.write(index)
    clean(index, after)
    return after


def _whole(index: Path) -> bool:
    """Says whether all files that an index consists of can be opened."""
    try:
        Snapshot.open(index).close()
    except SearchError as error:
        _log.info("%s", error)
        return False
    return True
