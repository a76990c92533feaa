"""Reads records quoted as in CSV (RFC 4180), in such a way that a stray quote costs its own line and no other.

A quoted field may hold line breaks, so a stray quote would swallow all lines up to the next quote. Such a record is undone:
the line that opened the quote is rejected, and the lines after it are read again.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tfb2d.data.joined_rows import JoinedRowsDetector
from tfb2d.data.lines import MAX_LINE, Line, LineFeed, decode

MAX_RECORD = MAX_LINE  # bytes of a record of several lines
MAX_RECORD_LINES = 10_000
NEVER_CLOSED = "a quote that is never closed"
RAGGED = "a quote that would join this line to others, not to the header's number of columns"
STRAY = "a quote that would join this line to the next rows (if it belongs there, set quoting to csv)"
OVER_LONG = "a quote that would join this line to others to a text longer than data.max_chars={}"
CARRIAGE_RETURN = "a carriage return within the line: convert the file's line ends to LF, or quote the value"
_TOO_LONG = "too long"
_BACKSLASHES = re.compile(rb'(\\+)"')


@dataclass
class Quoting:
    """Says how quotes are read, and counts what they did."""

    backslashes: bool = False  # whether a quote within a field follows a backslash, as Spark and R write it
    trusted: bool = False  # whether quotes are taken at their word; then only records that do not fit are undone
    max_chars: int = 0  # the longest text that the caller uses; 0 takes any
    limited: Sequence[int] = ()  # indices of the columns that `max_chars` holds for
    joined: int = 0  # records of several lines that were read
    joined_lines: int = 0
    first_joined: int = 0  # the first line of the first of them
    undone: int = 0  # records of several lines that were undone
    first_undone: int = 0

    def count(self, lines: Sequence[Line], undone: bool) -> None:
        """Counts a record of several lines."""
        if undone:
            self.undone += 1
            self.first_undone = self.first_undone or lines[0].number
        else:
            self.joined += 1
            self.joined_lines += len(lines)
            self.first_joined = self.first_joined or lines[0].number


class Record(NamedTuple):
    """A record's fields and the lines that it takes up; or a line that is rejected, and the reason."""

    fields: list[str]
    lines: list[Line]
    reason: str = ""


class _Taker:
    """Hands lines to csv.reader and keeps those of the record that is being read."""

    def __init__(self, feed: LineFeed, backslashes: bool) -> None:
        self.feed = feed
        self.backslashes = backslashes
        self.lines: list[Line] = []
        self._texts: list[str] = []
        self._bytes = 0

    def __iter__(self) -> "_Taker":
        return self

    def __next__(self) -> str:
        line = next(self.feed)
        self.lines.append(line)
        self._bytes += len(line.content)
        if line.cut or self._bytes > MAX_RECORD or len(self.lines) > MAX_RECORD_LINES:
            raise csv.Error(_TOO_LONG)
        self._texts.append(_text(line, self.backslashes))
        return self._texts[-1]

    def take(self) -> tuple[list[Line], list[str]]:
        """Returns the record's lines, as in the file and as CSV, and begins the next."""
        taken = self.lines, self._texts
        self.lines, self._texts, self._bytes = [], [], 0
        return taken


def read_records(
    feed: LineFeed, separator: str, width: int = 0, begins_quoted: bool = False, quoting: Quoting | None = None
) -> Iterator[Record]:
    """Streams records; every line belongs to exactly one of them, except blank lines, which belong to none.

    A record of several lines must be CSV with `width` fields, and end within MAX_RECORD bytes and MAX_RECORD_LINES lines.
    Its texts must not be longer than `quoting.max_chars`. Unless quotes are trusted, it must not look like rows that a
    stray quote joined (see `JoinedRowsDetector.joins_rows`). Otherwise its first line is yielded with the reason, and the
    others are read again.

    A width of 0 takes any (a header). Records of one line may have another number of fields. `begins_quoted` says
    whether the header begins with a quote, as all rows then may. `quoting` says how quotes are read, and gets the
    counts.
    """
    csv.field_size_limit(2 * MAX_RECORD)  # `_Taker` stops a record first
    quoting = quoting or Quoting()
    taker, detector = _Taker(feed, quoting.backslashes), JoinedRowsDetector(separator, width, begins_quoted)
    reader = csv.reader(taker, delimiter=separator, strict=True)
    undone = 0  # the last line of the records that were undone; nothing is learnt from those
    while True:
        try:
            fields, reason = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, reason = [], _reason(error, taker.lines)
            reader = csv.reader(taker, delimiter=separator, strict=True)
        lines, texts = taker.take()
        if len(lines) > 1 and width:
            reason = reason or _fault(fields, texts, width, quoting, detector)
            quoting.count(lines, bool(reason))
        if len(fields) == width and not reason and not quoting.trusted and lines[0].number > undone:
            detector.learn(texts, fields)
        if reason:
            feed.put_back(lines[1:])
            undone = max(undone, lines[-1].number)
            yield Record([], lines[:1], reason)
        elif fields:  # a blank line has none
            yield Record(fields, lines)


def _fault(
    fields: Sequence[str], texts: Sequence[str], width: int, quoting: Quoting, detector: JoinedRowsDetector
) -> str:
    """Says why a record of several lines that is CSV is undone; "" if it is not."""
    if len(fields) != width:
        return RAGGED
    if not quoting.trusted and detector.joins_rows(texts):
        return STRAY
    if quoting.max_chars and any(len(fields[index]) > quoting.max_chars for index in quoting.limited):
        return OVER_LONG.format(quoting.max_chars)
    return ""


def _reason(error: csv.Error, lines: list[Line]) -> str:
    """Says in the user's words why lines are no record."""
    if str(error) == _TOO_LONG or (len(lines) > 1 and "unexpected end of data" in str(error)):
        return NEVER_CLOSED
    if "new-line character" in str(error):
        return CARRIAGE_RETURN
    hint = " (for quotes behind backslashes set quoting to backslash)" if b'\\"' in lines[0].content else ""
    return f"not CSV: {error}{hint}"


def _text(line: Line, backslashes: bool) -> str:
    content = _BACKSLASHES.sub(_double, line.content) if backslashes and b'\\"' in line.content else line.content
    return decode(content) + "\n"


def _double(match: re.Match[bytes]) -> bytes:
    """Returns a quote and the backslashes before it as CSV has them: a pair is one, an odd one doubles the quote."""
    pairs, odd = divmod(len(match[1]), 2)
    return b"\\" * pairs + (b'""' if odd else b'"')
