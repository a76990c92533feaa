"""Reads comma- and tab-separated files, quoted as CSV or plain."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tfb2d.data.files import format_of
from tfb2d.data.joined_rows import JoinedRowsDetector
from tfb2d.data.lines import Line, LineFeed, decode, read_lines, reject_line, too_long
from tfb2d.data.quoted import Quoting, Record, read_records
from tfb2d.data.quoting import SAMPLE, begins_with_quote, conflict, has_quoted_names, is_quoted
from tfb2d.data.rows import EXCERPT, Problem, Progress, Row, column_indices
from tfb2d.errors import DataError, counted

_log = logging.getLogger(__name__)
NAMES = {",": "comma-separated", "\t": "tab-separated"}

Pick = Callable[[Sequence[str]], tuple[str | None, ...]]


class DelimitedFile:
    """Reads a file: its header at once, its rows by `rows`; the arguments are those of `readers.read_rows`.

    Attributes:
      header: names of the columns.

    Raises:
      DataError: there is no header.
    """

    def __init__(self, path: Path, quoting: str, progress: Progress, max_chars: int = 0) -> None:
        self.path = path
        self.separator = "," if format_of(path) == ".csv" else "\t"
        self._feed = LineFeed(read_lines(path, progress))
        trusted = quoting in ("csv", "backslash")
        self._quoting = Quoting(quoting == "backslash", trusted, max_chars)
        as_usual = True if self.separator == "," else None
        self._quoted: bool | None = as_usual if quoting == "auto" else trusted  # None: not known yet
        self._sampled = 0  # number of the last line that gave no clear answer
        self._begins_quoted = False  # whether the header does
        self.header = self._read_header()

    @property
    def dialect(self) -> str:
        """Returns how the file is read, in words: "tab-separated, no quoting"."""
        quoting = "CSV quoting" if self._quoted else "no quoting"
        return f"{NAMES[self.separator]}, {'quotes with backslashes' if self._quoting.backslashes else quoting}"

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """Streams the rows; see `readers.read_rows`."""
        indices = column_indices(self.path, self.header, columns, optional)
        self._quoting.limited = [index for index in indices[: len(columns)] if index is not None]

        def pick(fields: Sequence[str]) -> tuple[str | None, ...]:
            return tuple([None if index is None else fields[index] for index in indices])

        if not self._quoted:
            yield from self._plain_rows(pick)
        if self._quoted:  # perhaps only since a line within the file
            yield from self._quoted_rows(pick)
            self._report()

    def _read_header(self) -> list[str]:
        first = next(self._feed, None)
        if first is None or not first.content.strip():
            raise DataError(f"{self.path} is empty, or its first line is no header")
        text = decode(first.content.removesuffix(b"\r"))
        self._begins_quoted = text.startswith('"')
        if "\r" in text and '"' not in text:
            raise DataError(
                f"{self.path}: line 1 has carriage returns within; lines must end in LF, CRLF or, throughout, CR. "
                "Convert the file's line ends"
            )
        if self._quoted is None and has_quoted_names(text):
            self._quoted = True
        if not self._quoted:
            return text.split(self.separator)
        self._feed.put_back([first])
        record = next(read_records(self._feed, self.separator, quoting=self._quoting))
        if record.reason:
            raise DataError(f"{self.path}: the header, line 1, is not CSV: {record.reason}")
        if len(record.lines) > 1:
            self._check_long_header(record)
        if not any(record.fields):
            raise DataError(f"{self.path} is empty, or its first line is no header")
        return record.fields

    def _check_long_header(self, record: Record) -> None:
        """Refuses a header of several lines that look like rows: a stray quote in line 1 would swallow them."""
        texts = [decode(line.content) for line in record.lines]
        # Where rows have another number of fields than the header, all of them would be ragged.
        detector = JoinedRowsDetector(self.separator, len(record.fields), begins_quoted=False)
        if not self._quoting.trusted and detector.joins_rows(texts):
            raise DataError(
                f"{self.path}: a quote in the header, line 1, would join it to the rows up to line "
                f"{record.lines[-1].number}; take it out or, if it belongs there, set data.quoting=csv (of commands: "
                "--quoting=)"
            )
        self._quoting.count(record.lines, undone=False)

    def _plain_rows(self, pick: Pick) -> Iterator[Row]:
        """Yields rows of plain text, up to the line where the file turns out to be quoted."""
        width = len(self.header)
        for line in self._feed:
            content = line.content.removesuffix(b"\r")
            if self._quoted is None and line.number > self._sampled and begins_with_quote(content):
                self._decide(line)
                if self._quoted:
                    return
            elif line.cut:
                yield too_long(line)
            elif content:
                fields = decode(content).split(self.separator)
                yield Row(line.number, pick(fields)) if len(fields) == width else self._ragged(line, fields)

    def _decide(self, line: Line) -> None:
        """Decides from the lines that follow how the file is quoted, and puts them back to be read."""
        sample, size = [line], len(line.content)
        while size < SAMPLE and (following := next(self._feed, None)):
            sample.append(following)
            size += len(following.content) + 1
        quoted, certain = is_quoted(self.path, sample, whole=size < SAMPLE, width=len(self.header))
        if quoted and self._sampled:  # the fields in quotes before this line were read as plain text
            raise conflict(self.path, line.number)
        if certain:
            self._quoted = quoted
        self._sampled = sample[-1].number
        self._feed.put_back(sample)

    def _quoted_rows(self, pick: Pick) -> Iterator[Row]:
        width = len(self.header)
        records = read_records(self._feed, self.separator, width, self._begins_quoted, self._quoting)
        for fields, lines, reason in records:
            if reason:
                yield too_long(lines[0]) if lines[0].cut else reject_line(lines[0], reason)
            elif len(fields) != width:
                yield self._ragged(lines[0], fields)
            else:
                yield Row(lines[0].number, pick(fields), None, len(lines))

    def _report(self) -> None:
        """Logs how many records of several lines were read, and how many undone."""
        quoting = self._quoting
        parts = []
        if quoting.joined:
            parts.append(
                f"{counted(quoting.joined, 'record')} of several lines, {quoting.joined_lines:,} in all, the first from "
                f"line {quoting.first_joined} on; data.quoting=none reads each line by itself"
            )
        if quoting.undone:
            way_out = "" if quoting.trusted else "; if the quotes belong there, set data.quoting=csv"
            parts.append(
                f"{counted(quoting.undone, 'line')} rejected for a quote that would have joined lines, the first is line "
                f"{quoting.first_undone}{way_out}"
            )
        doubtful = quoting.undone or (len(self.header) == 1 and not quoting.trusted)
        if parts:
            _log.log(logging.WARNING if doubtful else logging.INFO, "%s: %s", self.path, ". ".join(parts))

    def _ragged(self, line: Line, fields: Sequence[str]) -> Row:
        excerpt = f"{len(fields)} columns: {self.separator.join(fields)[:EXCERPT]}"
        return Row(line.number, (), Problem("", f"ragged row: not the header's {len(self.header)} columns", excerpt))
