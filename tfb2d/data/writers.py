"""Streams rows into files, in the formats that the readers know. The ending says which."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.files import codec_of, format_of
from tfb2d.errors import DataError


class RowWriter:
    """Writes rows of the same columns to one file.

    JSON lines and Parquet keep values as they are, and CSV quotes what it must. TSV has no quoting: a tab or line break in
    a value becomes a space, which `flattened` counts. Lone surrogates, which stand for bytes that are not UTF-8, are
    written as those bytes. Parquet holds valid UTF-8 only: there they become U+FFFD.

    `path` may be a temporary name; the ending of `like` says the format and compression. `types` are the Parquet types
    of columns that have one already; the others take theirs from the first rows. Raises DataError where the ending is
    not known, or two columns have the same name.
    """

    def __init__(
        self, path: Path, like: Path, columns: Sequence[str], types: Mapping[str, pa.DataType] | None = None
    ) -> None:
        self.rows = 0  # that were written
        self.flattened = 0  # values whose tabs or line breaks became spaces
        self.path, self.like, self.columns, self.types = path, like, tuple(columns), dict(types or {})
        twice = {column for column in columns if list(columns).count(column) > 1}
        if twice:
            raise DataError(f"{like}: column {min(twice)!r} would occur twice")
        self._kind = format_of(like)
        self._parquet: pq.ParquetWriter | None = None
        self._file: Any = None
        if self._kind != ".parquet":
            codec = codec_of(like)
            self._file = pa.CompressedOutputStream(str(path), codec) if codec else path.open("wb")
            if self._kind != ".jsonl":
                self._put(self._lines([self.columns]))

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Writes rows; the first call settles the types of a Parquet file.

        Raises DataError for values that do not have their Parquet column's type; OSError where the disk is full.
        """
        if self._kind == ".parquet":
            self._write_parquet(rows)
        elif self._kind == ".jsonl":
            objects = (dict(zip(self.columns, row, strict=True)) for row in rows)
            self._put(json.dumps(value, ensure_ascii=False, default=str) + "\n" for value in objects)
        else:
            self._put(self._lines(rows))
        self.rows += len(rows)

    def close(self) -> None:
        """Completes the file; a file without rows has its header, or schema, all the same."""
        if self._kind == ".parquet" and self._parquet is None:
            self._write_parquet([])
        for file in (self._parquet, self._file):
            if file is not None:
                file.close()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error the file is only closed: what completing it may raise would hide that error.
        with suppress(OSError, pa.ArrowException) if kind is not None else nullcontext():
            self.close()

    def _put(self, lines: Iterable[str]) -> None:
        self._file.write("".join(lines).encode("utf-8", "surrogateescape"))

    def _lines(self, rows: Iterable[Sequence[Any]]) -> Iterable[str]:
        texts = ([_text(value) for value in row] for row in rows)
        if self._kind == ".tsv":
            return (self._flat("\t".join(row), row) + "\n" for row in texts)
        lines = _CsvLines()
        csv.writer(lines).writerows(texts)
        return lines

    def _flat(self, line: str, row: Sequence[str]) -> str:
        if line.count("\t") < len(row) and "\n" not in line and "\r" not in line:
            return line
        flat = [text.translate(_SPACES) for text in row]
        self.flattened += sum(before != after for before, after in zip(row, flat, strict=True))
        return "\t".join(flat)

    def _write_parquet(self, rows: Sequence[Sequence[Any]]) -> None:
        values = list(zip(*rows, strict=True)) if rows else [()] * len(self.columns)
        arrays = [self._array(name, list(column)) for name, column in zip(self.columns, values, strict=True)]
        if self._parquet is None:
            schema = pa.schema([(name, array.type) for name, array in zip(self.columns, arrays, strict=True)])
            self._parquet = pq.ParquetWriter(self.path, schema, compression="zstd")
        self._parquet.write_batch(pa.record_batch(arrays, schema=self._parquet.schema))

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        kind = self.types.get(name)
        if kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            values = [v.encode("utf-8", "surrogateescape") if isinstance(v, str) else v for v in values]
        else:
            values = [_valid(value) if isinstance(value, str) else value for value in values]
        try:
            array = pa.array(values, kind)
        except (pa.ArrowException, OverflowError) as error:
            where = f"{self.like}: column {name!r}, from row {self.rows + 1} on"
            raise DataError(f"{where}: not {kind or 'of one type'} throughout: {error}") from error
        if pa.types.is_null(array.type):
            array = array.cast(pa.string())
        self.types[name] = array.type
        return array


_SPACES = str.maketrans("\t\n\r", "   ")
_dumps: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _text(value: Any) -> str:
    """Writes a value as text: nothing for None, JSON for what is neither text nor a number."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return _dumps(value) if isinstance(value, bool | list | dict) else str(value)


def _valid(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _CsvLines(list[str]):
    """Collects csv.writer's rows. Their "\\r\\n" makes it quote both characters, which Python below 3.13 else forgets."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")
