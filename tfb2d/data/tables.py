"""Tables on disk: a folder of `part-00000.parquet`, `part-00001.parquet`, ... of one schema, in order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.errors import DataError
from tfb2d.data.files import sync

SHARD_ROWS = 65_536
SHARD_BYTES = 16 * 2**20  # of text in memory; long texts make shards of fewer rows


class ShardWriter:
    """Writes record batches into `folder/part-*.parquet`, at most SHARD_ROWS rows or about SHARD_BYTES bytes each.

    What is written depends on the batches alone. There is always at least one part, so that the schema can be read.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema
        self.rows = 0  # written and waiting
        self.parts = 0
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
        """Writes what is waiting, so that everything taken so far can be read."""
        if not self._waiting and self.parts:
            return
        path = self.folder / f"part-{self.parts:05d}.parquet"
        table = pa.Table.from_batches(self._waiting, self.schema)
        pq.write_table(table, path, compression="zstd", row_group_size=SHARD_ROWS)
        sync(path)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        self.parts += 1

    def close(self) -> None:
        """Writes what is waiting and makes the folder's entries durable."""
        self.flush()
        sync(self.folder)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


def part_files(folder: str | Path) -> list[Path]:
    """Returns the parts of a table, in order.

    Raises:
      DataError: there is none.
    """
    parts = sorted(Path(folder).glob("part-*.parquet"))
    if not parts:
        raise DataError(f"{folder}: no part-*.parquet; it is not a table's folder, or was never finished")
    return parts


def count_rows(folder: str | Path) -> int:
    """Returns how many rows a table has, from its parts' footers."""
    return sum(_open(part).metadata.num_rows for part in part_files(folder))


def read_table(folder: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a whole table into memory (train, valid and test are meant for it), with `columns` in their order.

    Raises:
      DataError: no parts, or a part that is not whole.
    """
    names = None if columns is None else list(columns)
    tables = []
    for part in part_files(folder):
        try:
            table = _open(part).read(names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{part}: not a whole Parquet file: {error}") from error
        tables.append(table if names is None else table.select(names))
    return pa.concat_tables(tables)


def logit_names(n_logits: int) -> list[str]:
    """Returns the logit columns of a table: `logit`, or `logit_0`, `logit_1`, ... for each class."""
    return ["logit"] if n_logits == 1 else [f"logit_{i}" for i in range(n_logits)]


def iter_batches(
    folder: str | Path, columns: Sequence[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Streams a table in batches of at most `rows` rows; a batch never spans two parts.

    Raises:
      DataError: no parts, or a part that is not whole.
    """
    names = None if columns is None else list(columns)
    for part in part_files(folder):
        yield from iter_part(part, names, rows)


def iter_part(part: Path, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Streams a part; see `iter_batches`."""
    names = None if columns is None else list(columns)
    try:
        for batch in _open(part).iter_batches(batch_size=rows, columns=names):
            yield batch if names is None else batch.select(names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{part}: not a whole Parquet file: {error}") from error


def _open(part: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(part)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{part}: not a whole Parquet file: {error}") from error
