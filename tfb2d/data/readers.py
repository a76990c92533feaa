"""Streams rows out of files: TSV, CSV, JSON lines (each also .gz or .zst) and Parquet. The ending says which.

A fault of the whole file raises DataError at once. A fault of a single row comes as that row's `problem`, and reading goes
on. Memory stays bounded: by a few mebibytes for text, by a few hundred rows for Parquet.

Blank lines are no rows in any text format, however many columns the file has.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.checks import MAX_CHARS
from tfb2d.data.delimited import DelimitedFile
from tfb2d.data.formats import format_of
from tfb2d.data.json_lines import json_columns, json_rows
from tfb2d.data.parquet_rows import parquet_rows
from tfb2d.data.rows import Progress, Row
from tfb2d.errors import DataError


class Reading(NamedTuple):
    """Says how files of rows are read; settings and flags have the same names.

    Attributes:
      max_rejected: share of bad rows at which to stop.
      max_chars: a longer text makes its row a bad one.
      quoting: how TSV and CSV files were written: "csv", "backslash", "none", or "auto" (see `read_rows`).
    """

    max_rejected: float = 0.01
    max_chars: int = MAX_CHARS
    quoting: str = "auto"

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
            rows = parquet_rows(path, columns, optional, progress)
        elif kind == ".jsonl":
            rows = json_rows(path, columns, optional, progress)
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
    """Returns a file's columns; of JSON lines, the keys of the first thousand objects.

    Raises:
      DataError: as for `read_rows`.
    """
    kind = format_of(path)
    try:
        if kind == ".parquet":
            return list(pq.read_schema(path).names)
        return json_columns(path) if kind == ".jsonl" else DelimitedFile(path, quoting, lambda _: None).header
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
