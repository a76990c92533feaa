"""Hashes the texts of a table in numbered pieces: the local loop and Ray's actors both call this, so bytes are equal.

A piece is written whole or not at all, so a stopped run goes on with those that are missing. At the end the pieces are
joined to the files that training maps into memory.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from tfb2d.atomic import atomic_path
from tfb2d.config.label import LabelConfig
from tfb2d.data.tables import TableRows
from tfb2d.errors import DataError
from tfb2d.students.rows import ABOUT, Hashed, HashedRows, in_order, text_hasher, write_hashed

PIECE_ROWS = 65_536
BATCH_ROWS = 4096  # hashed by a thread at once
PIECES = "_pieces"  # subfolder of the pieces, until they are joined


@dataclass(frozen=True)
class HashJob:
    """Describes the hashing of a table; a machine of a cluster can start it.

    Attributes:
      source, pieces: absolute paths of the table and of the pieces' folder, on storage that all machines share.
      part_rows: rows of each part of `source`.
      fields: the text columns.
      max_tokens, affixes: see `rows.hash_texts`.
      rows_per_piece: rows of a piece.
      threads: that hash; 0 takes one a core.
    """

    source: str
    pieces: str
    part_rows: tuple[int, ...]
    fields: tuple[str, ...]
    max_tokens: int
    affixes: tuple[int, ...]
    rows_per_piece: int
    threads: int = 0

    def start(self) -> Callable[[int], int]:
        """Returns the function that hashes a piece and says how many rows it has.

        Raises:
          DataError: this machine has another folder than the driver.
        """
        if not Path(self.pieces).exists():
            raise DataError(f"{self.pieces} is not the driver's folder; all machines must share the rows' storage")
        table = TableRows(Path(self.source), self.fields, self.part_rows)
        hash_batch = text_hasher(self.max_tokens, self.affixes)

        def work(index: int) -> int:
            rows = table.read(index * self.rows_per_piece, self.rows_per_piece)
            batches = in_order(hash_batch, _batches(rows), self.threads)
            columns = [list(parts) for parts in zip(*batches, strict=True)]
            with atomic_path(piece_path(Path(self.pieces), index)) as path, path.open("wb") as file:
                for parts in columns:
                    np.save(file, np.concatenate([hashes for hashes, _ in parts]))
                    np.save(file, np.concatenate([np.diff(splits) for _, splits in parts]))
            return rows.num_rows

        return work


def hash_table(
    source: Path,
    fields: Sequence[str],
    out: Path,
    max_tokens: int,
    affixes: Sequence[int] = (),
    config: LabelConfig | None = None,
    progress: bool = True,
) -> HashedRows:
    """Hashes the texts of a table, by the engine that labels it; goes on with the pieces that a stopped run left.

    Args:
      source: the table's folder.
      fields: its text columns.
      out: gets the rows, the same files as of `rows.hash_texts`. What is in it was made of the same table; whole rows of
        other settings are made anew.
      max_tokens, affixes: see `rows.hash_texts`.
      config: names the engine, and where Ray runs; None works in this process.
      progress: whether to show a bar.

    Raises:
      DataError: the table is damaged, or machines do not share its storage.
    """
    if (out / ABOUT).exists():
        hashed = HashedRows(out)
        if (hashed.max_tokens, tuple(hashed.affixes)) == (max_tokens, tuple(affixes)):
            return hashed
    config = config or LabelConfig()
    pieces = out / PIECES
    pieces.mkdir(parents=True, exist_ok=True)
    part_rows = TableRows(source, fields).part_rows
    paths = (str(source.absolute()), str(pieces.absolute()))
    threads = max(1, int(config.ray.cpus_per_actor)) if config.engine == "ray" and config.ray.actors else 0
    job = HashJob(*paths, part_rows, tuple(fields), max_tokens, tuple(affixes), PIECE_ROWS, threads)
    count = -(-sum(part_rows) // PIECE_ROWS)
    todo = [index for index in range(count) if not piece_path(pieces, index).exists()]
    with tqdm(total=sum(part_rows), desc=f"hash {out.name}", unit="row", disable=not progress, leave=False) as bar:
        bar.update(sum(part_rows) - _rows_of(todo, sum(part_rows)))
        for rows in _done(job, todo, config):
            bar.update(rows)
    hashed = write_hashed((_read(piece_path(pieces, index)) for index in range(count)), out, max_tokens, affixes)
    shutil.rmtree(pieces)
    return hashed


def piece_path(pieces: Path, index: int) -> Path:
    """Returns where a piece stands: of each field its hashes, and how many tokens each row has."""
    return pieces / f"{index:05d}.npy"


def _done(job: HashJob, todo: Sequence[int], config: LabelConfig) -> Iterator[int]:
    if config.engine == "ray":
        from tfb2d.scale.ray_actors import run_on_actors

        for index, rows in run_on_actors(job, todo, replace(config.ray, gpus_per_actor=0.0)):
            if not piece_path(Path(job.pieces), index).exists():
                raise DataError(f"{job.pieces} lacks piece {index}, which an actor wrote; all machines must share it")
            yield rows
    elif todo:
        yield from map(job.start(), todo)


def _rows_of(todo: Sequence[int], rows: int) -> int:
    return sum(min(PIECE_ROWS, rows - index * PIECE_ROWS) for index in todo)


def _batches(rows: pa.Table) -> Iterator[list[np.ndarray]]:
    for start in range(0, rows.num_rows, BATCH_ROWS):
        batch = rows.slice(start, BATCH_ROWS)
        yield [column.to_numpy() for column in batch.columns]


def _read(path: Path) -> Hashed:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        columns = []
        while file.tell() < size:
            hashes, lengths = np.load(file), np.load(file)
            columns.append((hashes, np.concatenate([[0], np.cumsum(lengths)])))
    return columns
