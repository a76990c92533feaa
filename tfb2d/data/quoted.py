"""Reads records quoted as in CSV (RFC 4180), in such a way that a stray quote costs its own line and no other.

A quoted field may hold line breaks, so a stray quote would swallow all lines up to the next quote. Such a record is undone:
the line that opened the quote is rejected, and the lines after it are read again.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tfb2d.data.lines import MAX_LINE, Line, LineFeed, decode

MAX_RECORD = MAX_LINE  # bytes of a record of several lines
MAX_RECORD_LINES = 10_000
LEARNING_ROWS = 1000  # the first rows of a file show what its rows are like
ENOUGH_ROWS = 20  # fewer rows say nothing about a column's values
FEW_VALUES, REPEATS = 50, 4  # a column of labels has at most so many values, each of them so often on average
LONG_ROWS = 20  # records of several lines are usual in a file where they are a twentieth of the rows
MAX_PLAIN_LINES = 20  # of a file of a single column: lines of a record that could each be a row
NEVER_CLOSED = "a quote that is never closed"
STRAY = "a quote that would join this line to the next rows"
_TOO_LONG = "too long"
_NUL = "\ud800"  # stands for a NUL, which the csv module of Python 3.10 refuses; never in decoded UTF-8


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
        self.bytes = 0

    def __iter__(self) -> "_Taker":
        return self

    def __next__(self) -> str:
        line = next(self.feed)
        self.lines.append(line)
        self.bytes += len(line.content)
        if line.cut or self.bytes > MAX_RECORD or len(self.lines) > MAX_RECORD_LINES:
            raise csv.Error(_TOO_LONG)
        return _text(line, self.backslashes)


def read_records(
    feed: LineFeed, separator: str, width: int = 0, begins_quoted: bool = False, backslashes: bool = False
) -> Iterator[Record]:
    """Streams records; every line belongs to exactly one of them, except blank lines, which belong to none.

    A record of several lines must be CSV with `width` fields, and end within MAX_RECORD bytes and MAX_RECORD_LINES lines.
    It must not look like rows that a stray quote joined (see `_RowLike.joins_rows`). Otherwise its first line is yielded
    with the reason, and the others are read again.

    Args:
      feed: the lines.
      separator: between fields.
      width: fields of a whole row; 0 takes any (a header).
      begins_quoted: whether the header begins with a quote, as all rows then may.
      backslashes: whether a quote within a field stands behind a backslash, as Spark and R write it.

    Yields:
      Record. Those of one line may have another number of fields than `width`.
    """
    csv.field_size_limit(2 * MAX_RECORD)  # `_Taker` stops a record first
    taker, row_like = _Taker(feed, backslashes), _RowLike(separator, width, begins_quoted, backslashes)
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
        lines, taker.lines, taker.bytes = taker.lines, [], 0
        if len(lines) > 1 and not reason and width and (len(fields) != width or row_like.joins_rows(lines)):
            reason = STRAY
        if len(fields) == width and not reason and lines[0].number > undone:
            row_like.learn(lines, fields)
        if reason:
            feed.put_back(lines[1:])
            undone = max(undone, lines[-1].number)
            yield Record([], lines[:1], reason)
        elif fields:  # a blank line has none
            nul = any(b"\0" in line.content for line in lines)
            yield Record([field.replace(_NUL, "\0") for field in fields] if nul else fields, lines)


def _reason(error: csv.Error, lines: list[Line]) -> str:
    """Says in the user's words why lines are no record."""
    if str(error) == _TOO_LONG or (len(lines) > 1 and "unexpected end of data" in str(error)):
        return NEVER_CLOSED
    hint = " (for quotes behind backslashes set quoting to backslash)" if b'\\"' in lines[0].content else ""
    return f"not CSV: {error}{hint}"


class _RowLike:
    """Tells lines that are rows from lines of a text with line breaks.

    A line is a row if it has `width` fields and its values are like those of the file's first rows. A column's values say
    something where they are numbers, or few different ones (labels). A text's line may have as many fields by chance. But
    its commas stand before a space, at the line's end or within a number; commas between fields do not, unless the first
    rows have such commas too. Where the header and all rows begin with a quote, so does every line that is a row.
    """

    def __init__(self, separator: str, width: int, begins_quoted: bool, backslashes: bool) -> None:
        self._backslashes = backslashes
        self.separator = separator
        self.width = width
        self._begins_quoted = begins_quoted
        self._commas = [re.compile(p) for p in (r", ", r",$", r"\d,\d{3}(?!\d)")] if separator == "," else []
        self._rows = self._long_rows = 0  # rows so far, and those of several lines
        self._values: list[set[str] | None] = [set() for _ in range(width)]  # by column; None: too many
        self._numbers = [True] * width  # whether a column has numbers alone

    def learn(self, lines: Sequence[Line], fields: Sequence[str]) -> None:
        """Learns from a row of the file what its rows are like."""
        if self._rows == LEARNING_ROWS:
            return
        self._rows += 1
        self._long_rows += len(lines) > 1
        self._begins_quoted = self._begins_quoted and lines[0].content.startswith(b'"')
        if b'"' not in lines[0].content:
            text = _text(lines[0], self._backslashes)
            self._commas = [pattern for pattern in self._commas if not pattern.search(text)]
        for column, value in enumerate(fields):
            self._numbers[column] = self._numbers[column] and _is_number(value)
            values = self._values[column]
            if values is not None:
                values.add(value)
                self._values[column] = values if len(values) <= FEW_VALUES else None

    def joins_rows(self, lines: Sequence[Line]) -> bool:
        """Says whether a record of several lines looks like rows that a stray quote joined: at least half are rows.

        If the quoted field is the record's first, its last line always has the right number of fields and says nothing. If
        it is the last field, the first line says nothing. In a file of a single column only the number of lines counts,
        unless the file has many records of several lines.
        """
        texts = [_text(line, self._backslashes) for line in lines if line.content.strip()]
        if self.width == 1:
            usual = LONG_ROWS * self._long_rows >= self._rows > 0
            return (
                len(texts) == len(lines) > MAX_PLAIN_LINES and not usual and not any(self.separator in t for t in texts)
            )
        *closed, opened = next(csv.reader(texts[:1], delimiter=self.separator))
        evidence = [self._is_row(text) for text in texts[1:-1]]
        if len(closed) < self.width - 1:
            fields = [*closed, *opened.removesuffix("\n").split(self.separator)]
            evidence.append(not self._in_sentence(opened) and self._fits(fields))
        if closed:
            evidence.append(self._is_row(texts[-1]))
        return 2 * sum(evidence) >= len(evidence) > 0

    def _is_row(self, text: str) -> bool:
        if text.count(self.separator) < self.width - 1 or self._in_sentence(text):
            return False
        if self._begins_quoted and not text.startswith('"'):
            return False
        try:
            return self._fits(next(csv.reader([text], delimiter=self.separator, strict=True)))
        except csv.Error:
            return False

    def _in_sentence(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._commas)

    def _fits(self, fields: Sequence[str]) -> bool:
        """Says whether fields are as many as a row's, and like those of the first rows."""
        if len(fields) != self.width:
            return False
        if self._rows < ENOUGH_ROWS:
            return True
        for value, numbers, known in zip(fields, self._numbers, self._values, strict=True):
            few = known is not None and REPEATS * len(known) <= self._rows
            if (numbers and not _is_number(value)) or (few and not numbers and value not in (known or ())):
                return False
        return True


def _is_number(value: str) -> bool:
    """Says whether a value is a number, or missing."""
    return not value or value.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _text(line: Line, backslashes: bool) -> str:
    content = line.content.replace(b'\\"', b'""') if backslashes else line.content
    return decode(content).replace("\0", _NUL) + "\n"
