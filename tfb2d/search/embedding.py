"""Embeds titles into parts of a catalogue; parts that a killed build has written are not embedded again."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from tfb2d.data.files import file_identity
from tfb2d.errors import DataError
from tfb2d.outcomes import Outcome
from tfb2d.resume import bring_up, fingerprint
from tfb2d.search.catalogue import PART_ROWS, write_part
from tfb2d.search.manifest import Part
from tfb2d.search.models import Identity, Model
from tfb2d.search.titles import Source, Title

_BATCH = 1024
_VERSION = 1  # of this module's outcome


@dataclass(frozen=True)
class Embedded(Outcome):
    """The parts of a catalogue: `[file, rows, size]` each, the vectors' width, rejected rows, and the folder."""

    folder: str
    parts: Sequence[Any]
    dim: int
    rejected: int = 0

    def is_intact(self) -> bool:
        """Says whether the parts have the sizes that they were written with."""
        paths = [(Path(self.folder) / file, size) for file, _, size in self.parts]
        return all(path.exists() and path.stat().st_size == size for path, size in paths)

    def as_parts(self) -> tuple[Part, ...]:
        """Returns the parts."""
        return tuple(Part(*part) for part in self.parts)


def embed_catalogue(
    index: Path, source: Source, model: Model, identity: Identity, dtype: str, *, progress: bool = True
) -> tuple[str, Embedded]:
    """Embeds all titles of files into a folder of the index; continues where a killed call stopped.

    Returns the folder's name, and what it holds. Raises DataError for files that cannot be used, too many rejected
    rows, or no titles.
    """
    paths = source.paths()
    made_from = fingerprint(
        _VERSION, file_identity(source.files), source.id, source.title, source.quoting, source.max_chars,
        identity.fingerprint or identity.probes, dtype, PART_ROWS,
    )  # fmt: skip
    name = f"catalogue-{made_from[:8]}"

    def work(folder: Path) -> Embedded:
        rejected = folder / "rejected.jsonl"
        size = sum(path.stat().st_size for path in paths)
        shape = "{desc} {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}, ETA {remaining}{postfix}"
        with tqdm(total=size, desc="embed", unit="B", unit_scale=True, bar_format=shape, disable=not progress) as bar:
            titles = source.read(paths, rejected, bar.update)
            parts = list(_parts(folder, titles, model, dtype, bar))
        if not parts:
            raise DataError(f"{', '.join(map(str, paths))}: no titles, so there is nothing to search")
        lost = rejected.read_bytes().count(b"\n") if rejected.exists() else 0
        dim = len(identity.probes[0])
        return Embedded(str(folder.absolute()), [[part.file, part.rows, part.size] for part in parts], dim, lost)

    return name, bring_up(index / name, made_from, work, Embedded, name="catalogue")


def append_parts(folder: Path, first: int, titles: Sequence[Title], model: Model, dtype: str) -> list[Part]:
    """Embeds titles into parts of a catalogue that follow its `first` parts."""
    return [
        _write(_path(folder, first + number), titles[begin : begin + PART_ROWS], model, dtype)
        for number, begin in enumerate(range(0, len(titles), PART_ROWS))
    ]


def _parts(folder: Path, titles: Iterator[Title], model: Model, dtype: str, bar: tqdm) -> Iterator[Part]:
    done, begin = 0, time.monotonic()
    for number in count():
        some = list(islice(titles, PART_ROWS))
        if not some:
            return
        path = _path(folder, number)
        if not (part := _finished(path, len(some))):
            part = _write(path, some, model, dtype)
            done += part.rows
            bar.set_postfix_str(f"{done / (time.monotonic() - begin):,.0f} titles/s", False)
        yield part


def _write(path: Path, titles: Sequence[Title], model: Model, dtype: str) -> Part:
    texts = [title.title for title in titles]
    vectors = [model.titles(texts[begin : begin + _BATCH]) for begin in range(0, len(texts), _BATCH)]
    return write_part(path, [title.id for title in titles], texts, np.concatenate(vectors), dtype)


def _finished(path: Path, rows: int) -> Part | None:
    """Returns a part that is there and whole, else None."""
    try:
        whole = pq.read_metadata(path).num_rows == rows
    except (OSError, ValueError):  # not there, or cut short
        return None
    return Part(path.name, rows, path.stat().st_size) if whole else None


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"
