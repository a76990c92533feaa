"""The catalogue of an index: ids, titles and their vectors in Parquet parts, which are the truth.

Beside each part is a copy as an Arrow file, which is memory-mapped. So a row's title and vector are read without
loading the part, and opening a catalogue of a million titles takes milliseconds. The copies can be made anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfb2d.atomic import atomic_path
from tfb2d.errors import DataError
from tfb2d.search.answer import REPAIR, SearchError
from tfb2d.search.manifest import Manifest, Part

PART_ROWS = 16_384
COPY = ".arrow"  # ending of a part's memory-mapped copy
SCALE = 127.0  # of int8 vectors: a unit vector's components lie within [-1, 1]
_TYPES = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}

Vectors = NDArray[np.float32]


def schema(dim: int, dtype: str) -> pa.Schema:
    """Returns the columns of a part."""
    vector = pa.list_(pa.field("item", _TYPES[dtype], nullable=False), dim)
    return pa.schema([("id", pa.string()), ("title", pa.string()), ("embedding", vector)])


def stored(vectors: Vectors, dtype: str) -> NDArray:
    """Returns unit vectors as they are stored; int8 are multiplied by 127, rounded and kept within it."""
    if dtype != "int8":
        return vectors.astype(dtype)
    return np.clip(np.rint(vectors * SCALE), -SCALE, SCALE).astype(np.int8)


def restored(vectors: NDArray) -> Vectors:
    """Returns stored vectors as float32, near length 1."""
    floats = vectors.astype(np.float32)
    return floats / np.float32(SCALE) if vectors.dtype == np.int8 else floats


def write_part(path: Path, ids: Sequence[str], titles: Sequence[str], vectors: Vectors, dtype: str) -> Part:
    """Writes a part and its memory-mapped copy, each atomically."""
    layout = schema(vectors.shape[1], dtype)
    flat = pa.array(np.ascontiguousarray(stored(vectors, dtype)).reshape(-1), _TYPES[dtype])
    columns = [pa.array(ids, pa.string()), pa.array(titles, pa.string())]
    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=layout.field("embedding").type))
    table = pa.Table.from_arrays(columns, schema=layout)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=PART_ROWS, store_schema=True)
    _write_copy(path, table)
    return Part(path.name, len(ids), path.stat().st_size)


def read_part(path: Path) -> pa.Table:
    """Reads a part; raises DataError where it is not a whole Parquet file."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read().combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file: {error}") from error


def mend_copy(part: Path, rows: int) -> None:
    """Makes a part's memory-mapped copy anew where it cannot be read."""
    try:
        _mapped(part, rows)
    except SearchError:
        _write_copy(part, read_part(part))


def _write_copy(part: Path, table: pa.Table) -> None:
    """Writes a part's memory-mapped copy, atomically, as one record batch."""
    (batch,) = table.combine_chunks().to_batches(max_chunksize=table.num_rows) or [None]
    with (
        atomic_path(part.with_suffix(COPY)) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_batch(batch)


class Catalogue:
    """Reads the rows of an index's catalogue by their numbers.

    Attributes:
      rows: how many row numbers there are, those of deleted titles included.
      dim: width of the vectors.
      deleted: bool `[rows]`.
      live: how many titles can be found.

    Raises:
      SearchError: a file is missing or was cut short.
    """

    def __init__(self, index: Path, manifest: Manifest) -> None:
        self.rows, self.dim, self.dtype = manifest.rows, manifest.dim, manifest.dtype
        self._starts = np.cumsum([0, *(part.rows for part in manifest.parts)])
        self._ids: list[pa.Array] = []
        self._titles: list[pa.Array] = []
        self._vectors: list[NDArray] = []
        for part in manifest.parts:
            batch = _mapped(index / manifest.catalogue / part.file, part.rows)
            self._ids.append(batch.column(0))
            self._titles.append(batch.column(1))
            flat = batch.column(2).flatten().to_numpy(zero_copy_only=True)
            self._vectors.append(flat.reshape(part.rows, manifest.dim))
        self.deleted = np.zeros(self.rows, bool)
        if manifest.deleted:
            try:
                self.deleted[np.load(index / manifest.deleted)] = True
            except (OSError, ValueError, IndexError) as error:
                raise SearchError(f"{index / manifest.deleted} is not whole ({error}); build the index anew") from error
        self.live = self.rows - int(self.deleted.sum())

    def live_rows(self) -> NDArray[np.int64]:
        """Returns the rows that can be found, rising."""
        return np.flatnonzero(~self.deleted)

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Returns the ids of rows."""
        return [self._ids[part][offset].as_py() for part, offset in self._places(rows)]

    def titles(self, rows: NDArray[np.int64]) -> list[str]:
        """Returns the titles of rows."""
        return [self._titles[part][offset].as_py() for part, offset in self._places(rows)]

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """Returns the vectors of rows, float32 `[n, dim]`."""
        vectors = np.zeros((len(rows), self.dim), self._vectors[0].dtype if self._vectors else np.float32)
        parts = np.searchsorted(self._starts, rows, "right") - 1
        for part in np.unique(parts):
            inside = parts == part
            vectors[inside] = self._vectors[part][rows[inside] - self._starts[part]]
        return restored(vectors)

    def blocks(self, begin: int = 0) -> Iterator[tuple[int, Vectors]]:
        """Yields (first row, float32 `[n, dim]`) of each part, from row `begin` on; deleted rows are among them."""
        for start, vectors in zip(self._starts, self._vectors, strict=False):
            skipped = max(0, begin - int(start))
            if skipped < len(vectors):
                yield int(start) + skipped, restored(vectors[skipped:])

    def all_ids(self) -> Iterator[tuple[int, list[str], list[str]]]:
        """Yields (first row, ids, titles) of each part; deleted rows are among them."""
        for start, ids, titles in zip(self._starts, self._ids, self._titles, strict=False):
            yield int(start), ids.to_pylist(), titles.to_pylist()

    def live_titles(self) -> Iterator[tuple[int, str]]:
        """Yields row and title of each live row."""
        for start, _, titles in self.all_ids():
            for offset, title in enumerate(titles):
                if not self.deleted[start + offset]:
                    yield start + offset, title

    def _places(self, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
        parts = np.searchsorted(self._starts, rows, "right") - 1
        return list(zip(parts.tolist(), (rows - self._starts[parts]).tolist(), strict=True))


def _mapped(part: Path, rows: int) -> pa.RecordBatch:
    """Maps a part's copy into memory; raises SearchError where it is missing or was cut short."""
    path = part.with_suffix(COPY)
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        if batch.num_rows != rows:
            raise ValueError(f"{batch.num_rows} rows instead of {rows}")
        return batch
    except (pa.ArrowException, OSError, ValueError, IndexError) as error:
        raise SearchError(f"{path} is not whole ({error}); {REPAIR}") from error
