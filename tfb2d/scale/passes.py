"""The passes that prepare a transfer set. Each does numbered pieces of work, from files to files, on any machine.

  split    a file a piece: reads, checks, leaves out leaks, and sorts runs of rows by a hash of the text
  merge    a part of the hashes a piece: leaves out the same texts and near leaks, makes the keys of near texts
  bands    a part of these keys a piece: finds the rows that are near an earlier one
  drop     a part of the hashes a piece: leaves those rows out
  shards   an output file a piece

The order of the hashes is the order of the output, so it depends on the texts and the seed alone: neither on the input's
files and their order, nor on how many parts there are. A piece's memory is bounded by the size of its part.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path, write_json
from tfb2d.data.checked_rows import text_batches
from tfb2d.data.keys import both_keys, hash64
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import TableRows, iter_part
from tfb2d.errors import DataError
from tfb2d.scale import near
from tfb2d.scale.held_texts import HeldTexts
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.sorted_files import part_of_keys, read_range, write_sorted

RUN_ROWS, RUN_BYTES = 65_536, 16 * 2**20  # of rows that are sorted in memory, the text's bytes
GROUP_PARTS = 2  # times a part's bytes are compared together: the whole part, unless many texts are alike
ROW_BITS = 32  # a row's number in a part; the part's number is above them

Counts = dict[str, Any]


@dataclass(frozen=True)
class PreparePass:
    """A pass, which holds paths and numbers alone, so that a machine of a cluster can start it."""

    name: str  # of the pass, and of the method that does a piece
    work: str  # absolute path of the passes' files, on storage that all machines share
    out: str  # absolute path of the output
    # files, held_out: absolute paths of the rows, and of those that must not leak
    files: tuple[str, ...]
    held_out: tuple[str, ...]
    config: PrepareConfig  # the settings
    pieces: int  # how many pieces this pass has
    before: int = 0  # how many pieces the pass had whose files are read
    part_rows: tuple[int, ...] = ()  # rows of each part that `drop` left, for `shards`

    def start(self) -> Callable[[int], Counts]:
        """Returns the function that does a piece and writes its counts, by which the piece is known to be done.

        Raises DataError where this machine has another output folder than the driver.
        """
        if not Path(self.work).exists():
            raise DataError(f"{self.work} is not the driver's folder; all machines must share the output's storage")

        def work(piece: int) -> Counts:
            counts: Counts = getattr(self, self.name)(piece)
            write_json(self.counts_path(piece), counts)
            return counts

        return work

    def counts_path(self, piece: int) -> Path:
        """Returns where a piece's counts are once it is done."""
        return Path(self.work) / self.name / f"{piece:05d}.json"

    def rows_path(self, name: str, piece: int) -> Path:
        """Returns where a piece's rows are, under the name of what they are."""
        return Path(self.work) / name / f"{piece:05d}.arrow"

    def _before(self, name: str) -> list[Path]:
        return [self.rows_path(name, piece) for piece in range(self.before)]

    @cached_property
    def _held(self) -> HeldTexts:
        return HeldTexts([Path(path) for path in self.held_out], self.config)

    @cached_property
    def _sets(self) -> list[str]:
        """Returns the columns of words, one for each field; none where near texts are not looked for."""
        return [f"set {i}" for i in range(len(self.config.fields))] if self.config.near else []

    @cached_property
    def _texts(self) -> list[str]:
        return [f"text {i}" for i in range(len(self.config.columns))]

    @cached_property
    def _schema(self) -> pa.Schema:
        """Returns the columns of rows on their way: hash, how many have this text, key, words, and what the user has."""
        words = [("exact", pa.uint64()), *((name, near.SETS) for name in self._sets)] if self._sets else []
        texts = [(name, pa.string()) for name in self._texts]
        return pa.schema([("hash", pa.uint64()), ("copies", pa.int64()), ("key", pa.string()), *words, *texts])

    # split

    def split(self, piece: int) -> Counts:
        """Reads a file."""
        counts: Counter[str] = Counter()
        with Rejects(self.counts_path(piece).with_suffix(".rejected.jsonl"), 1.0) as rejects:
            rejects.begin()
            runs = self._runs(Path(self.files[piece]), rejects, counts)
            size = write_sorted(self.rows_path("split", piece), runs, self._schema)
        return {**counts, "rejected": rejects.count, "reasons": dict(rejects.reasons), "bytes": size}

    def _runs(self, path: Path, rejects: Rejects, counts: Counter[str]) -> Iterator[pa.RecordBatch]:
        config = self.config
        waiting: list[pa.RecordBatch] = []
        rows = size = 0
        keep = config.columns[len(config.fields) :]
        for batch in text_batches([path], config.fields, keep, Reading.of(config), rejects):
            counts["rows"] += batch.num_rows
            waiting.append(self._keyed(batch, counts))
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= RUN_ROWS or size >= RUN_BYTES:
                yield self._distinct(waiting)
                waiting, rows, size = [], 0, 0
        if waiting:
            yield self._distinct(waiting)

    def _keyed(self, batch: pa.RecordBatch, counts: Counter[str]) -> pa.RecordBatch:
        """Returns the rows that leak nothing, after their hashes and keys."""
        config = self.config
        groups = batch.column(config.columns.index(config.group)).to_pylist() if config.group else None
        texts = zip(*(batch.column(i).to_pylist() for i in range(len(config.fields))), strict=True)
        kept, hashes, keys, near_keys = [], [], [], []
        for row, fields in enumerate(texts):
            key, near_key = both_keys(fields)
            if reason := self._held.leak(key, near_key, groups[row] if groups else ""):
                counts[reason] += 1
                continue
            kept.append(row)
            hashes.append(hash64(f"{config.seed}\0{key}"))
            keys.append(key)
            near_keys.append(near_key)
        columns = [pa.array(hashes, pa.uint64()), pa.array(np.ones(len(kept), np.int64)), pa.array(keys, pa.string())]
        if self._sets:
            sets, exact = near.word_columns(near_keys, len(config.fields))
            columns += [pa.array(exact), *sets]
        return pa.record_batch([*columns, *batch.take(pa.array(kept, pa.int64())).columns], schema=self._schema)

    def _distinct(self, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        """Sorts rows by hash and keeps one of each text, whatever order they came in: the first by its columns' values."""
        table = pa.Table.from_batches(batches, self._schema)
        if not table.num_rows:
            return _one(table)
        table = table.sort_by([(name, "ascending") for name in ("hash", "key", *self._texts)])
        after, before = table.slice(1), table.slice(0, table.num_rows - 1)
        other = [pc.not_equal(after[name], before[name]) for name in ("hash", "key")]
        new = np.concatenate([[True], pc.or_(*other).to_numpy()])
        first = np.flatnonzero(new)
        copies = np.add.reduceat(table["copies"].to_numpy(), first)
        return _one(table.take(pa.array(first)).set_column(1, "copies", pa.array(copies)))

    # merge

    def merge(self, piece: int) -> Counts:
        """Brings the rows of a part of the hashes together."""
        rows = self._distinct(list(read_range(self._before("split"), *part_of_keys(piece, self.pieces))))
        counts: Counter[str] = Counter()
        bands, written = self.rows_path("bands", piece), 0
        if self._sets:
            kept = np.ones(rows.num_rows, bool)
            made = near.entries(rows, self._sets, piece << ROW_BITS, kept, self._held.are_near, self.config.near)
            written = write_sorted(bands, made, near.entry_schema(self._sets))
            leaked = rows.filter(pa.array(~kept))
            counts["near_leaked"] = int(np.sum(leaked.column("copies").to_numpy()))
            rows = rows.filter(pa.array(kept))
        counts["duplicates"] = int(np.sum(rows.column("copies").to_numpy()) - rows.num_rows)
        self._write_part("merge" if self._sets else "kept", piece, rows)
        return {**counts, "bytes": written, "kept": rows.num_rows}

    # bands

    def bands(self, piece: int) -> Counts:
        """Finds rows that are near an earlier one, among those with the same key."""
        batches = read_range(self._before("bands"), *part_of_keys(piece, self.pieces))
        rows = near.near_rows(batches, self._sets, self.config.near, GROUP_PARTS * self.config.part_bytes)
        later = np.unique(np.concatenate([np.zeros(0, np.uint64), *rows]))
        schema = pa.schema([("row", pa.uint64())])
        write_sorted(self.rows_path("near", piece), [pa.record_batch([later], schema=schema)], schema)
        return {}

    # drop and shards

    def drop(self, piece: int) -> Counts:
        """Leaves out the rows of a part that are near an earlier one."""
        low = piece << ROW_BITS
        batches = read_range(self._before("near"), low, low + 2**ROW_BITS - 1)
        rows_near = np.concatenate([np.zeros(0, np.uint64), *(batch.column(0).to_numpy() for batch in batches)])
        schema = pa.schema([(column, pa.string()) for column in self.config.columns])
        rows = pa.Table.from_batches(iter_part(self._part("merge", piece), schema.names, RUN_ROWS), schema)
        kept = np.ones(rows.num_rows, bool)
        kept[(rows_near - np.uint64(low)).astype(np.int64)] = False
        self._write_table("kept", piece, rows.filter(pa.array(kept)))
        return {"near_duplicates": int((~kept).sum()), "kept": int(kept.sum())}

    def shards(self, piece: int) -> Counts:
        """Writes an output file."""
        size, kept = self.config.rows_per_shard, Path(self.work) / "kept"
        table = TableRows(kept, list(self.config.columns), self.part_rows).read(piece * size, size)
        with atomic_path(Path(self.out) / f"part-{piece:05d}.parquet") as path:
            pq.write_table(table.combine_chunks(), path, compression="zstd")
        return {"kept": table.num_rows}

    def _part(self, name: str, piece: int) -> Path:
        return Path(self.work) / name / f"part-{piece:05d}.parquet"

    def _write_part(self, name: str, piece: int, rows: pa.RecordBatch) -> None:
        texts = [rows.column(text) for text in self._texts]
        self._write_table(name, piece, pa.table(texts, list(self.config.columns)))

    def _write_table(self, name: str, piece: int, table: pa.Table) -> None:
        with atomic_path(self._part(name, piece)) as path:
            pq.write_table(table, path, compression="zstd", row_group_size=RUN_ROWS)


def _one(table: pa.Table) -> pa.RecordBatch:
    """Returns a table as one record batch."""
    columns = [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]
    return pa.record_batch(columns, schema=table.schema)
