"""Reads Parquet files, a few hundred rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.columns import column_indices
from tfb2d.data.lines import CHUNK, decode
from tfb2d.data.rows import Progress, Row

BATCH_ROWS = 256


def parquet_rows(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    """Streams the rows; see `readers.read_rows`. Values keep their types; text may be a string, binary or dictionary."""
    size = path.stat().st_size
    # Read in pieces of CHUNK: with Arrow's defaults a whole row group's columns are held.
    with pq.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False) as file:
        indices = column_indices(path, file.schema_arrow.names, columns, optional)
        names = (*columns, *optional)
        present = list(dict.fromkeys(n for n, i in zip(names, indices, strict=True) if i is not None))
        total, number = file.metadata.num_rows, 0
        for batch in file.iter_batches(BATCH_ROWS, columns=present):
            lists = {name: _values(batch.column(name)) for name in present}
            nothing = [None] * batch.num_rows
            for values in zip(*(lists.get(name, nothing) for name in names), strict=True):
                number += 1
                yield Row(number, values)
            progress(size * number // total - size * (number - batch.num_rows) // total)


def _values(column: pa.Array) -> list[Any]:
    """Returns Python values. Text is read as bytes, so that invalid UTF-8 rejects its row alone."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column, kind = column.cast(pa.large_binary()), pa.large_binary()
    values = column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None if v is None else decode(v) for v in values]
    return values
