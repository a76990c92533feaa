"""Tables on disk: a folder of `part-00000.parquet`, `part-00001.parquet`, ... of one schema, in order."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import sync
from tfb2d.errors import DataError

SHARD_ROWS = 65_536
SHARD_BYTES = 16 * 2**20  # of text in memory; long texts make shards of fewer rows


class ShardWriter:
    """Writes record batches of a schema into `folder/part-*.parquet`; the folder is made if need be.

    A part has at most SHARD_ROWS rows and about SHARD_BYTES bytes of text. The same batches give the same bytes. There is
    always at least one part, so that the schema can be read.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self.rows = 0  # that were taken, whether written yet or not
        self.parts = 0  # that were written
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes a batch of `schema`."""
        self.rows += batch.num_rows
        while batch.num_rows:
            taken = batch.slice(0, SHARD_ROWS - self._waiting_rows)
            batch = batch.slice(taken.num_rows)
            self._waiting.append(taken)
            self._waiting_rows += taken.num_rows
            self._waiting_bytes += taken.nbytes
            if self._waiting_rows == SHARD_ROWS or self._waiting_bytes >= SHARD_BYTES:
                self.flush()

    def flush(self) -> None:
        """Writes the rows taken so far, so that they can be read."""
        if not self._waiting and self.parts:
            return
        path = self.folder / f"part-{self.parts:05d}.parquet"
        table = pa.Table.from_batches(self._waiting, self.schema)
        pq.write_table(table, path, compression="zstd", row_group_size=SHARD_ROWS)
        sync(path)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        self.parts += 1

    def close(self) -> None:
        """Writes the last part and syncs the folder's entries."""
        self.flush()
        sync(self.folder)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


def part_files(folder: str | Path) -> list[Path]:
    """Returns the parts of a table, in order; raises DataError where there are none."""
    by_number = sorted(Path(folder).glob("part-*.parquet"))
    parts = sorted(by_number, key=lambda part: len(part.name))  # also above 99,999
    if not parts:
        raise DataError(f"{folder}: no part-*.parquet; it is not a table's folder, or was never finished")
    return parts


def count_rows(folder: str | Path) -> int:
    """Returns how many rows a table has, from its parts' footers."""
    return sum(map(_rows_of, part_files(folder)))


def read_table(folder: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a whole table into memory (train, valid and test are meant for it); see `iter_batches`."""
    tables = []
    for part in part_files(folder):
        with _opened(part) as file:
            tables.append(file.read() if columns is None else file.read(columns).select(columns))
    return pa.concat_tables(tables)


def iter_batches(
    folder: str | Path, columns: Sequence[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Streams a table's columns, None for all, in batches of at most `rows` rows; a batch never spans two parts.

    Raises DataError where there are no parts, or one is not a whole Parquet file.
    """
    for part in part_files(folder):
        yield from iter_part(part, columns, rows)


def iter_part(part: Path, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Streams a part; see `iter_batches`."""
    names = None if columns is None else list(columns)
    with _opened(part) as file:
        for batch in file.iter_batches(batch_size=rows, columns=names):
            yield batch if names is None else batch.select(names)


class TableRows:
    """Reads rows of a table by their index. The last row group that was read is kept, for the rows that follow.

    `part_rows` are the rows of each part, where the caller knows them; else they are read from the footers. Raises
    DataError where there are no parts, or one is not a whole Parquet file.
    """

    def __init__(self, folder: Path, columns: Sequence[str], part_rows: Sequence[int] | None = None) -> None:
        self._parts = part_files(folder)
        self._columns = list(columns)
        self.part_rows = tuple(map(_rows_of, self._parts) if part_rows is None else part_rows)
        if len(self.part_rows) != len(self._parts):
            raise DataError(f"{folder} has {len(self._parts)} parts in place of {len(self.part_rows)}")
        self._ends = [0, *accumulate(self.part_rows)]  # of the parts, counted from the table's beginning
        self._kept: tuple[tuple[int, int], pa.Table] | None = None

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, first: int, rows: int) -> pa.Table:
        """Returns the rows from an index on, fewer at the table's end.

        Raises DataError where a part is damaged, or has another number of rows than before.
        """
        tables = [pa.table({name: pa.array([], pa.string()) for name in self._columns})] if not len(self) else []
        last = min(first + rows, len(self))
        for part in range(bisect_right(self._ends, first) - 1, bisect_left(self._ends, last)):
            start = self._ends[part]
            begin, end = max(0, first - start), min(self.part_rows[part], last - start)
            tables += self._rows(part, self._parts[part], begin, end)
        return pa.concat_tables(tables)

    def _rows(self, part: int, path: Path, begin: int, end: int) -> Iterator[pa.Table]:
        with _opened(path) as file:
            start = 0
            if file.metadata.num_rows != self.part_rows[part]:
                raise DataError(f"{path} has {file.metadata.num_rows} rows in place of {self.part_rows[part]}")
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if start < end and begin < start + count:
                    if self._kept is None or self._kept[0] != (part, group):
                        self._kept = (part, group), file.read_row_group(group, self._columns).select(self._columns)
                    yield self._kept[1].slice(max(0, begin - start), min(end, start + count) - max(begin, start))
                start += count


def regroup(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Regroups a stream of batches of any size into tables of `rows` rows each; only the last may have fewer.

    Tables whose parts differ in size can then be read side by side.
    """
    waiting: list[pa.RecordBatch] = []
    room = rows
    for batch in batches:
        while batch.num_rows >= room:
            yield pa.Table.from_batches([*waiting, batch.slice(0, room)])
            batch = batch.slice(room)
            waiting, room = [], rows
        if batch.num_rows:
            waiting.append(batch)
            room -= batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)


def logit_names(n_logits: int) -> list[str]:
    """Returns the names of a table's logit columns: `logit`, or `logit_0`, `logit_1`, ... for each class."""
    return ["logit"] if n_logits == 1 else [f"logit_{i}" for i in range(n_logits)]


def _rows_of(part: Path) -> int:
    with _opened(part) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(part: Path) -> Iterator[pq.ParquetFile]:
    """Opens a part; whatever goes wrong while it is read raises DataError."""
    try:
        with pq.ParquetFile(part) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{part}: not a whole Parquet file: {error}") from error
