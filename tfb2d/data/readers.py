"""Streams rows out of files: TSV, CSV, JSON lines (each also .gz or .zst) and Parquet. The ending says which.

A fault of the whole file raises DataError at once. A fault of a single row comes as that row's `problem`, and reading goes
on. Memory stays bounded: by a few mebibytes for text, by a few hundred rows for Parquet.

Blank lines are no rows in any text format, however many columns the file has.
"""

import json
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.delimited import DelimitedFile
from tfb2d.data.files import format_of
from tfb2d.data.lines import CHUNK, decode, read_lines, reject_line, too_long
from tfb2d.data.rows import MAX_CHARS, Progress, Row, column_indices, missing_column
from tfb2d.errors import DataError

PROBE_ROWS = 1000  # objects at the beginning; a column that none of them has is missing
BATCH_ROWS = 256  # of Parquet


class Reading(NamedTuple):
    """Says how files of rows are read; settings and flags have the same names."""

    max_rejected: float = 0.01  # share of bad rows at which to stop
    max_chars: int = MAX_CHARS  # a longer text makes its row a bad one
    quoting: str = "auto"  # how TSV and CSV files were written: "csv", "backslash", "none", or "auto" (see `read_rows`)

    @classmethod
    def of(cls, settings: Any) -> "Reading":
        """Returns what settings or a command's flags say, which have these three attributes."""
        return cls(settings.max_rejected, settings.max_chars, settings.quoting)


AS_USUAL = Reading()


def read_rows(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    progress: Progress | None = None,
    quoting: str = "auto",
    dialects: MutableMapping[str, str] | None = None,
    max_chars: int = 0,
) -> Iterator[Row]:
    """Streams a file's rows.

    Args:
      path: the file.
      columns: columns that it must have.
      optional: columns that are None throughout where the file has none.
      progress: called with the bytes read since the last call.
      quoting: how TSV and CSV files were written. "csv"; "backslash", the same with quotes inside fields behind
        backslashes (Spark, R); "none"; or "auto", which is csv for CSV, and for TSV if its fields look like it.
      dialects: gets, by the path, how the file was read ("tab-separated, no quoting"), once its rows are read.
      max_chars: the longest text of `columns` that the caller uses; 0 takes any. A CSV record of several lines with a
        longer text is undone: its first line is rejected, and the others are read again.

    A stray quote in CSV would join rows. With "auto", a record of several lines is undone where the lines inside look like
    rows. "csv" and "backslash" trust the quotes: they undo only what is never closed, has another number of fields, or is
    too long. Either way, the lines of all rows are the file's lines, except blank ones and the header's.

    Yields:
      Row, with the `values` of `columns`, then those of `optional`.

    Raises:
      DataError: the file is empty, unreadable, cut short, of an unknown kind, lacks a column, or is a TSV file that is
        neither clearly quoted nor clearly plain.
    """
    kind = format_of(path)
    progress = progress or (lambda _: None)
    number, dialect = 0, {".jsonl": "JSON lines", ".parquet": "Parquet"}.get(kind, "")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        if kind == ".parquet":
            rows = _parquet_rows(path, columns, optional, progress)
        elif kind == ".jsonl":
            rows = _json_rows(path, columns, optional, progress)
        else:
            file = DelimitedFile(path, quoting, progress, max_chars)
            rows = file.rows(columns, optional)
        try:
            for row in rows:
                number = row.number
                yield row
        finally:
            if dialects is not None:
                dialects[str(path)] = dialect or file.dialect
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read after row {number} (is it cut short?): {error}") from error


def columns_of(path: Path, quoting: str = "auto") -> list[str]:
    """Returns a file's columns; of JSON lines, the keys of the first thousand objects. Raises as `read_rows` does."""
    kind = format_of(path)
    try:
        if kind == ".parquet":
            return list(pq.read_schema(path).names)
        return _json_columns(path) if kind == ".jsonl" else DelimitedFile(path, quoting, lambda _: None).header
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _json_columns(path: Path) -> list[str]:
    """Returns the keys of the first PROBE_ROWS objects, in the order of first appearance."""
    objects = (_object(line.content) or {} for line in islice(read_lines(path, lambda _: None), PROBE_ROWS))
    return list(dict.fromkeys(key for value in objects for key in value))


def _json_rows(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    """Streams the rows; see `readers.read_rows`. Values keep their JSON types; a key that is left out is None."""
    seen: dict[str, None] = {}  # keys of the first objects, in order
    rows = 0

    def require_columns() -> None:
        for column in columns:
            if column not in seen:
                raise missing_column(path, column, columns, list(seen))

    for line in read_lines(path, progress):
        if not line.content.strip():
            continue
        rows += 1
        value = None if line.cut else _object(line.content)
        if line.cut:
            yield too_long(line)
        elif value is None:
            yield reject_line(line, "not a JSON object")
        else:
            if rows <= PROBE_ROWS:
                seen.update(dict.fromkeys(value))
            yield Row(line.number, tuple([value.get(column) for column in (*columns, *optional)]))
        if rows == PROBE_ROWS:
            require_columns()
    if 0 < rows < PROBE_ROWS:
        require_columns()


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(decode(content))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parquet_rows(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
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
