"""Records with quotes as CSV has them (RFC 4180), in which a stray quote costs its own line and no other.

A quoted field may hold line breaks, so a quote that nobody meant to open would swallow all lines to the next quote. Such a
record is undone: the line that opened the quote is rejected, the lines after it are read again, each by itself.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tfb2d.data.lines import MAX_LINE, Line, LineFeed, decode

MAX_RECORD = MAX_LINE  # bytes of a record of several lines
MAX_RECORD_LINES = 10_000
LEARNING_ROWS = 1000  # of a file, from which it is learnt how commas stand in rows
MAX_PLAIN_LINES = 20  # in one column: lines of a record none of which has a separator, so that each could be a row
NEVER_CLOSED = "a quote that is never closed"
STRAY = "a quote that would join this line to the next rows"
_TOO_LONG = "too long"
_NUL = "\ud800"  # stands for a NUL, which the csv module of Python 3.10 refuses; never in decoded UTF-8


class Record(NamedTuple):
    """Fields of one record and the lines that it takes up; or one line that is rejected, and the reason."""

    fields: list[str]
    lines: list[Line]
    reason: str = ""


class _Taker:
    """Hands lines to csv.reader and keeps those of the record that is being read."""

    def __init__(self, feed: LineFeed) -> None:
        self.feed = feed
        self.lines: list[Line] = []
        self.bytes = 0

    def __iter__(self) -> "_Taker":
        return self

    def __next__(self) -> str:
        line = next(self.feed)
        self.lines.append(line)
        self.bytes += len(line.content)
        if line.cut or self.bytes > MAX_RECORD or len(self.lines) > MAX_RECORD_LINES:
            raise csv.Error(_TOO_LONG)
        return _text(line)


def read_records(feed: LineFeed, separator: str, width: int = 0) -> Iterator[Record]:
    """Streams records; every line is in exactly one of them, but for blank lines, which are in none.

    A record of several lines must be CSV, closed within MAX_RECORD bytes and MAX_RECORD_LINES lines, have `width` fields,
    and must not look like rows that a stray quote joined (see `_RowLike.joins_rows`). Otherwise its first line is yielded
    with the reason, and the others are read again.

    Args:
      feed: the lines.
      separator: between fields.
      width: fields of a whole row; 0 takes any (a header).

    Yields:
      Record. Those of one line may have another number of fields than `width`.
    """
    csv.field_size_limit(2 * MAX_RECORD)  # the taker stops a record first
    taker, row_like = _Taker(feed), _RowLike(separator, width)
    reader = csv.reader(taker, delimiter=separator, strict=True)
    while True:
        try:
            fields, reason = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, reason = [], _reason(error, taker.lines)
            reader = csv.reader(taker, delimiter=separator, strict=True)
        lines, taker.lines, taker.bytes = taker.lines, [], 0
        if len(lines) == 1:
            if len(fields) == width and row_like.learning:
                row_like.learn(lines[0])
        elif not reason and width and (len(fields) != width or row_like.joins_rows(lines)):
            reason = STRAY
        if reason:
            feed.put_back(lines[1:])
            yield Record([], lines[:1], reason)
        elif fields:  # a blank line has none
            nul = any(b"\0" in line.content for line in lines)
            yield Record([field.replace(_NUL, "\0") for field in fields] if nul else fields, lines)


def _reason(error: csv.Error, lines: list[Line]) -> str:
    """Says in the user's words why lines are no record."""
    if str(error) == _TOO_LONG or (len(lines) > 1 and "unexpected end of data" in str(error)):
        return NEVER_CLOSED
    return f"not CSV: {error}"


class _RowLike:
    """Tells lines that are rows from lines of a text that has line breaks.

    A line by itself is a row if it has `width` fields. A text's line may have as many by chance, but its commas are
    followed by spaces, end the line or part thousands, as commas between fields do not, unless the file's first rows have
    such commas, too.
    """

    def __init__(self, separator: str, width: int) -> None:
        self.separator = separator
        self.width = width
        self._commas = [re.compile(p) for p in (r", ", r",$", r"\d,\d{3}(?!\d)")] if separator == "," else []
        self._rows = 0

    @property
    def learning(self) -> bool:
        """Whether another row may change what is known of the file's rows."""
        return bool(self._commas) and self._rows < LEARNING_ROWS

    def learn(self, line: Line) -> None:
        """Looks at a row of the file for how its commas stand."""
        self._rows += 1
        if b'"' not in line.content:
            text = _text(line)
            self._commas = [pattern for pattern in self._commas if not pattern.search(text)]

    def joins_rows(self, lines: Sequence[Line]) -> bool:
        """Whether a record of several lines looks like rows that a stray quote joined: at least half of them are rows.

        Where the quoted field is a record's first, the last line always has the right number of fields, and where it is
        the last field, the first line has; such a line says nothing. In a single column no line says anything but by
        their number.
        """
        texts = [_text(line) for line in lines if line.content.strip()]
        if self.width == 1:
            return len(texts) == len(lines) > MAX_PLAIN_LINES and not any(self.separator in text for text in texts)
        *closed, opened = next(csv.reader(texts[:1], delimiter=self.separator))
        evidence = [self._is_row(text) for text in texts[1:-1]]
        if len(closed) < self.width - 1:
            fields = len(closed) + 1 + opened.count(self.separator)
            evidence.append(fields == self.width and not self._in_sentence(opened))
        if closed:
            evidence.append(self._is_row(texts[-1]))
        return 2 * sum(evidence) >= len(evidence) > 0

    def _is_row(self, text: str) -> bool:
        if text.count(self.separator) < self.width - 1 or self._in_sentence(text):
            return False
        try:
            return len(next(csv.reader([text], delimiter=self.separator, strict=True))) == self.width
        except csv.Error:
            return False

    def _in_sentence(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._commas)


def _text(line: Line) -> str:
    return decode(line.content).replace("\0", _NUL) + "\n"
