"""Rows out of files, streamed: TSV, CSV, JSON lines (each also .gz or .zst) and Parquet, told apart by their endings.

What is wrong with a whole file raises DataError at once; what is wrong with one row comes out as that row's `problem`,
and reading goes on. Memory stays bounded: by MAX_RECORD for text, by a few hundred rows for Parquet.
"""

import csv
import difflib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.errors import DataError
from tfb2d.data.files import ENDINGS
from tfb2d.data.rows import Problem, Progress, Row

MAX_RECORD = 4 * 2**20  # bytes of one line, or of one CSV record of several lines
CHUNK = 2**20
PARQUET_ROWS = 256
PROBE_ROWS = 1000  # JSON lines without a column before it counts as missing
BOM = b"\xef\xbb\xbf"


def kind_of(path: Path) -> str:
    """The ending without a compression: ".tsv", ".csv", ".jsonl" or ".parquet".

    Raises:
      DataError: none of them.
    """
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return "." + ending.split(".")[1]
    raise DataError(f"{path}: unknown kind of file; it must end in one of {', '.join(ENDINGS)}")


def read_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), progress: Progress | None = None
) -> Iterator[Row]:
    """Streams a file's rows.

    Args:
      path: the file.
      columns: columns that it must have.
      optional: columns that are None throughout where the file has none.
      progress: called with the bytes consumed since the last call.

    Yields:
      Row, with `values` of `columns`, then of `optional`.

    Raises:
      DataError: the file is empty, unreadable, cut short, of an unknown kind, or lacks a column.
    """
    read = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[kind_of(path)]
    number = 0
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        for row in read(path, tuple(columns), tuple(optional), progress or (lambda _: None)):
            number = row.number
            yield row
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read after row {number} (is it cut short?): {error}") from error


def columns_of(path: Path) -> list[str]:
    """A file's columns; of JSON lines, the keys of the first PROBE_ROWS objects.

    Raises:
      DataError: as for `read_rows`.
    """
    kind = kind_of(path)
    try:
        if kind == ".parquet":
            return list(pq.read_schema(path).names)
        if kind == ".jsonl":
            objects = (_object(line.content) or {} for line in islice(_lines(path, lambda _: None), PROBE_ROWS))
            return list(dict.fromkeys(key for one in objects for key in one))
        lines = _lines(path, lambda _: None)
        return _tsv_header(path, lines) if kind == ".tsv" else _csv_header(path, _Feed(lines))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _places(path: Path, present: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[int | None]:
    """Where the wanted columns are among those present; None for an optional one that is not there."""
    for column in (*columns, *optional):
        if list(present).count(column) > 1:
            raise DataError(f"{path}: column {column!r} occurs more than once in the header")
    for column in columns:
        if column not in present:
            raise _missing(path, column, columns, present)
    return [present.index(c) if c in present else None for c in (*columns, *optional)]


def _missing(path: Path, column: str, wanted: Sequence[str], present: Sequence[str]) -> DataError:
    has = ", ".join(repr(c[:40]) for c in present[:20]) + (", ..." if len(present) > 20 else "")
    if not set(wanted) & set(present):
        names = ", ".join(map(repr, wanted))
        return DataError(f"{path} has none of the columns {names} that the config names; it has {has or 'none at all'}")
    near = difflib.get_close_matches(column, present, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return DataError(f"{path} has no column {column!r}{hint} (its columns: {has})")


class _Line(NamedTuple):
    number: int
    content: bytes  # without the newline; of a line that is too long, its beginning
    cut: bool


def _chunks(path: Path, progress: Progress) -> Iterator[bytes]:
    with path.open("rb") as raw:
        codec = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
        stream: Any = pa.CompressedInputStream(pa.PythonFile(raw), codec) if codec else raw
        at = 0
        while chunk := stream.read(CHUNK):
            yield chunk
            progress(raw.tell() - at)
            at = raw.tell()


def _lines(path: Path, progress: Progress) -> Iterator[_Line]:
    """The lines of a text file; a byte order mark at its beginning is dropped."""
    number, held, skipping, beginning = 1, b"", False, b""
    for chunk in _chunks(path, progress):
        if number == 1 and not held and not skipping:
            if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{path} is UTF-16; it must be UTF-8")
            chunk = chunk.removeprefix(BOM)
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            line, held = held + line, b""
            if skipping or len(line) > MAX_RECORD:
                yield _Line(number, beginning if skipping else line[:CHUNK], True)
                skipping = False
            else:
                yield _Line(number, line, False)
            number += 1
        if not skipping:
            held += rest
            if len(held) > MAX_RECORD:
                skipping, beginning, held = True, held[:CHUNK], b""
    if held or skipping:
        yield _Line(number, beginning if skipping else held, skipping)


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _too_long(line: _Line) -> Row:
    return Row(line.number, (), Problem("", f"line longer than {MAX_RECORD:,} bytes", _decoded(line.content[:200])))


def _ragged(number: int, fields: Sequence[str], header: Sequence[str], separator: str) -> Row:
    reason = f"ragged row: not the header's {len(header)} columns"
    return Row(number, (), Problem("", reason, f"{len(fields)} columns: {separator.join(fields)[:200]}"))


def _tsv_header(path: Path, lines: Iterator[_Line]) -> list[str]:
    first = next(lines, None)
    if first is None or not first.content.strip():
        raise DataError(f"{path} is empty, or its first line is no header")
    return _decoded(first.content.removesuffix(b"\r")).split("\t")


def _tsv(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    lines = _lines(path, progress)
    header = _tsv_header(path, lines)
    places = _places(path, header, columns, optional)
    for line in lines:
        content = line.content.removesuffix(b"\r")
        if line.cut:
            yield _too_long(line)
        elif content:
            fields = _decoded(content).split("\t")
            if len(fields) != len(header):
                yield _ragged(line.number, fields, header, "\t")
            else:
                yield Row(line.number, tuple(None if p is None else fields[p] for p in places))


class _Feed:
    """Lines for csv.reader, which can be put back after a record that went wrong."""

    NUL = "\ud800"  # stands for a NUL, which the csv module of Python 3.10 refuses; never in decoded UTF-8

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._back: deque[_Line] = deque()
        self._bytes = 0
        self.taken: list[_Line] = []  # by the record that is being read

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        self.taken.append(line)
        self._bytes += len(line.content)
        if line.cut or self._bytes > MAX_RECORD:
            raise csv.Error("too long")
        return _decoded(line.content).replace("\0", self.NUL) + "\n"

    def done(self) -> None:
        """The record has been read."""
        self.taken.clear()
        self._bytes = 0

    def put_back(self) -> _Line:
        """Gives up on the record: its first line, which it returns, is dropped, the others are read again."""
        first, *others = self.taken
        self._back.extendleft(reversed(others))
        self.done()
        return first


def _csv_header(path: Path, feed: _Feed) -> list[str]:
    csv.field_size_limit(2 * MAX_RECORD)  # the feed stops a record first
    try:
        header = next(csv.reader(feed, strict=True), [])
    except csv.Error as error:
        raise DataError(f"{path}: the header, line 1, is not CSV: {error}") from error
    feed.done()
    if not any(header):
        raise DataError(f"{path} is empty, or its first line is no header")
    return header


def _csv(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    feed = _Feed(_lines(path, progress))
    header = _csv_header(path, feed)
    places = _places(path, header, columns, optional)
    reader = csv.reader(feed, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Only the line where the record began is lost: a stray quote must not swallow the rows after it.
            first = feed.put_back()
            reason = f"not CSV: {error}" if str(error) != "too long" else "a quote that is never closed"
            problem = Problem("", reason, _decoded(first.content[:200]))
            yield _too_long(first) if first.cut else Row(first.number, (), problem)
            reader = csv.reader(feed, strict=True)
            continue
        number = feed.taken[0].number
        feed.done()
        if len(fields) != len(header):
            if fields:  # a blank line has none
                yield _ragged(number, fields, header, ",")
        else:
            values = (None if p is None else fields[p] for p in places)
            yield Row(number, tuple(v and v.replace(_Feed.NUL, "\0") for v in values))


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(_decoded(content))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _jsonl(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    seen: dict[str, None] = {}  # keys of the first objects, in order
    rows = 0

    def require() -> None:
        for column in columns:
            if column not in seen:
                raise _missing(path, column, columns, list(seen))

    wanted = (*columns, *optional)
    for line in _lines(path, progress):
        if not line.content.strip():
            continue
        rows += 1
        value = None if line.cut else _object(line.content)
        if line.cut:
            yield _too_long(line)
        elif value is None:
            yield Row(line.number, (), Problem("", "not a JSON object", _decoded(line.content[:200])))
        else:
            if rows <= PROBE_ROWS:
                seen.update(dict.fromkeys(value))
            yield Row(line.number, tuple(value.get(c) for c in wanted))
        if rows == PROBE_ROWS:
            require()
    if 0 < rows < PROBE_ROWS:
        require()


def _parquet(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    size = path.stat().st_size
    # Read in pieces of CHUNK: with Arrow's defaults a whole row group's columns are held.
    with pq.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False) as file:
        places = _places(path, file.schema_arrow.names, columns, optional)
        names = (*columns, *optional)
        present = list(dict.fromkeys(n for n, p in zip(names, places, strict=True) if p is not None))
        total, number = file.metadata.num_rows, 0
        for batch in file.iter_batches(PARQUET_ROWS, columns=present):
            lists = {name: _values(batch.column(name)) for name in present}
            nothing = [None] * batch.num_rows
            for values in zip(*(lists.get(name, nothing) for name in names), strict=True):
                number += 1
                yield Row(number, values)
            progress(size * number // total - size * (number - batch.num_rows) // total)


def _values(column: pa.Array) -> list[Any]:
    """Python values; text goes through bytes, so that invalid UTF-8 is one row's problem."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column, kind = column.cast(pa.large_binary()), pa.large_binary()
    values = column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None if v is None else _decoded(v) for v in values]
    return values
