"""Tells rows that a stray quote joined from a text with line breaks.

Both are CSV. What differs is what the lines inside look like, each read by itself: rows have the header's number of fields
throughout, a text's lines by chance.
"""

import csv
import re
from collections.abc import Sequence

MANY_LINES = 10  # with this many lines inside, their number of fields decides
NEARLY_ALL = 0.9  # of many lines inside: this share of a text's lines never has a row's number of fields by chance
ALL_AT_FIRST = 4  # lines inside that are no chance, before the file has shown what its rows are like
ENOUGH_ROWS = 20  # fewer rows say nothing about a column's values, or about a file's commas
SHORT_VALUE = 40  # characters of a value that says something
LONG_ROWS = 20  # records of several lines are usual in a file where they are a twentieth of the rows
MAX_PLAIN_LINES = 20  # of a file of a single column: lines of a record that could each be a row
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_DIGIT = re.compile(r"\d")


class JoinedRowsDetector:
    """Learns from a file's rows what they are like, and says whether a record of several lines looks like joined rows.

    A text's commas are before a space, at the line's end or within a number. Commas between fields do not, unless the
    file's rows have such commas too. Of a record of few lines the values count as well. Where a column's values are short
    and without spaces, so is a row's value: of about their length, and with a digit or without as some of them (ids,
    dates, labels). Where the header and all rows begin with a quote, so does every line that is a row.
    """

    def __init__(self, separator: str, width: int, begins_quoted: bool) -> None:
        self.separator = separator
        self.width = width
        self._begins_quoted = begins_quoted
        self._commas = [re.compile(p) for p in (r", ", r",$", r"\d,\d{3}(?!\d)")] if separator == "," else []
        self._rows = self._long_rows = 0  # rows so far, and those of several lines
        self._kinds: list[set[str] | None] = [set() for _ in range(width)]  # of values by column; None: says nothing
        self._longest = [0] * width  # characters

    def learn(self, texts: Sequence[str], fields: Sequence[str]) -> None:
        """Learns from a row of the file: its lines, and its fields."""
        self._rows += 1
        self._long_rows += len(texts) > 1
        self._begins_quoted = self._begins_quoted and texts[0].startswith('"')
        if self._commas:
            text = "".join(texts)
            bare = _QUOTED.sub('""', text) if '"' in text else text
            self._commas = [pattern for pattern in self._commas if not pattern.search(bare)]
        for column, value in enumerate(fields):
            kinds = self._kinds[column]
            if kinds is None:
                continue
            if len(value) > SHORT_VALUE or " " in value.strip():
                self._kinds[column] = None
            else:
                kinds.add(_kind(value))
                self._longest[column] = max(self._longest[column], len(value))

    def joins_rows(self, texts: Sequence[str]) -> bool:
        """Says whether a record, given by its lines, looks like rows that a stray quote joined."""
        first, *inner, last = [text for text in texts if text.strip()]  # the first and the last have a quote
        parsed = [self._parse(text) for text in inner]
        exact = [text for text, fields in zip(inner, parsed, strict=True) if fields]
        if self.width == 1:
            usual = LONG_ROWS * self._long_rows >= self._rows > 0
            return len(inner) + 2 > MAX_PLAIN_LINES and not usual and 2 * len(exact) >= len(inner)
        if len(inner) >= MANY_LINES:
            bare = sum(not self._in_sentence(text) for text in exact)
            return 2 * bare >= len(inner) or len(exact) >= NEARLY_ALL * len(inner)
        if self._rows < ENOUGH_ROWS and len(exact) == len(inner) >= ALL_AT_FIRST:
            return True
        return self._few_lines_are_rows(first, inner, last)

    def _few_lines_are_rows(self, first: str, inner: Sequence[str], last: str) -> bool:
        """Says whether at least half of the lines are rows that have values like those of the file's rows.

        If the quoted field is the record's first, its last line always has the right number of fields and says nothing. If
        it is the last field, the first line says nothing.
        """
        *closed, opened = next(csv.reader([first], delimiter=self.separator))
        evidence = [self._is_row(text) for text in inner]
        if len(closed) < self.width - 1:
            fields = [*closed, *opened.removesuffix("\n").split(self.separator)]
            evidence.append(not self._in_sentence(opened) and self._fits(fields))
        if closed:
            evidence.append(self._is_row(last))
        return 2 * sum(evidence) >= len(evidence) > 0

    def _parse(self, text: str) -> list[str]:
        """Returns the fields of a line that has a row's number of them; else none."""
        if text.count(self.separator) < self.width - 1 or (self._begins_quoted and not text.startswith('"')):
            return []
        try:
            fields = next(csv.reader([text], delimiter=self.separator, strict=True))
        except csv.Error:
            return []
        return fields if len(fields) == self.width else []

    def _is_row(self, text: str) -> bool:
        return not self._in_sentence(text) and self._fits(self._parse(text))

    def _in_sentence(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._commas)

    def _fits(self, fields: Sequence[str]) -> bool:
        """Says whether fields are as many as a row's, and like those of the file's rows."""
        if len(fields) != self.width:
            return False
        if self._rows < ENOUGH_ROWS:
            return True
        return all(
            kinds is None or (len(value) <= 2 * longest + 2 and " " not in value.strip() and _kind(value) in kinds)
            for value, kinds, longest in zip(fields, self._kinds, self._longest, strict=True)
        )


def _kind(value: str) -> str:
    """Says whether a value has digits, has none, or is missing."""
    return "digits" if _DIGIT.search(value) else "no digits" if value else ""
