"""Streams the physical lines of a text file: unpacked, numbered, and none longer than a bound."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tfb2d.data.files import codec_of
from tfb2d.data.rows import EXCERPT, Problem, Progress, Row
from tfb2d.errors import DataError

MAX_LINE = 4 * 2**20  # bytes; of a longer line only the beginning is kept
CHUNK = 2**20
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A physical line."""

    number: int  # counts from 1
    content: bytes  # without the line's end; of a line that is too long, its beginning
    cut: bool  # whether it is too long


class LineFeed:
    """An iterator of lines to which lines can be put back, to be read once more."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._back: deque[Line] = deque()

    def __iter__(self) -> "LineFeed":
        return self

    def __next__(self) -> Line:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: Iterable[Line]) -> None:
        """Puts lines back; they come next, in this order."""
        self._back.extendleft(reversed(list(lines)))


def read_lines(path: Path, progress: Progress) -> Iterator[Line]:
    """Streams the lines of a text file; a byte order mark at its beginning is dropped.

    Lines end in LF or CRLF; the CR stays in the content. If the first mebibyte has CRs but no LF, lines end in CR.
    Raises DataError where the file is UTF-16.
    """
    number, held, skipping, beginning, end = 1, b"", False, b"", b""
    for chunk in _chunks(path, progress):
        if not end:
            if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{path} is UTF-16; it must be UTF-8")
            chunk = chunk.removeprefix(BOM)
            end = b"\r" if b"\r" in chunk and b"\n" not in chunk else b"\n"
        *lines, unfinished = chunk.split(end)
        for line in lines:
            line, held = held + line, b""
            if skipping or len(line) > MAX_LINE:
                yield Line(number, beginning if skipping else line[:CHUNK], True)
                skipping = False
            else:
                yield Line(number, line, False)
            number += 1
        if not skipping:
            held += unfinished
            if len(held) > MAX_LINE:
                skipping, beginning, held = True, held[:CHUNK], b""
    if held or skipping:
        yield Line(number, beginning if skipping else held, skipping)


def decode(content: bytes) -> str:
    """Decodes UTF-8; bytes that are not UTF-8 become lone surrogates."""
    return content.decode("utf-8", "surrogateescape")


def reject_line(line: Line, reason: str) -> Row:
    """Returns a row that says why its line cannot be used."""
    return Row(line.number, (), Problem("", reason, decode(line.content[:EXCERPT])))


def too_long(line: Line) -> Row:
    """Returns a row that says that its line is too long."""
    return reject_line(line, f"line longer than {MAX_LINE:,} bytes")


def _chunks(path: Path, progress: Progress) -> Iterator[bytes]:
    with path.open("rb") as raw:
        codec = codec_of(path)
        stream: Any = pa.CompressedInputStream(pa.PythonFile(raw), codec) if codec else raw
        before = 0
        while chunk := stream.read(CHUNK):
            yield chunk
            progress(raw.tell() - before)
            before = raw.tell()
