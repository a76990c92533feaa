"""Reads titles and ids out of files; rows that cannot be used are rejected and counted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.files import expand
from tfb2d.data.keys import HashSet, text_hashes
from tfb2d.data.readers import Reading, columns_of
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import MAX_CHARS, text_fault
from tfb2d.data.task import name
from tfb2d.errors import DataError, nearest

MAX_ID = 512  # characters
_CHUNK = 4096  # rows whose ids are compared at once


class Title(NamedTuple):
    """A title and the id that the user knows it by."""

    id: str
    title: str


@dataclass(frozen=True)
class Source:
    """Says where titles are."""

    files: Sequence[str]  # paths, globs, folders
    # id, title: the columns; 1 and 1.0 are the id "1"
    id: str = "id"
    title: str = "title"
    quoting: str = "auto"  # how TSV and CSV files were written, see `tfb2d.data.readers.read_rows`
    max_chars: int = MAX_CHARS  # a longer title is rejected
    max_rejected: float = 0.01  # share of rows that may be rejected

    def paths(self) -> list[Path]:
        """Returns the files; raises DataError where there is none, or one lacks a column."""
        paths = expand(self.files)
        for path in paths:
            columns = columns_of(path, self.quoting)
            for flag, column in (("id", self.id), ("title", self.title)):
                if column not in columns:
                    hint = nearest(column, columns) or f"; it has {', '.join(columns)}"
                    raise DataError(f"{path} has no column {column!r}{hint} (--{flag}=COLUMN names it)")
        return paths

    def read(
        self, paths: Sequence[Path], rejected: Path | None = None, progress: Callable[[int], None] | None = None
    ) -> Iterator[Title]:
        """Streams the titles in order; of rows with the same id the first counts. The file `rejected` gets the bad rows.

        `progress` is called with the bytes read since the last call. Raises DataError for a file that cannot be used,
        or too many rejected rows.
        """
        rejects = Rejects(rejected, self.max_rejected)
        try:
            rejects.begin()
            rows, ids = 0, HashSet()
            for path in paths:
                good = self._good(path, rejects, progress)
                while chunk := list(islice(good, _CHUNK)):
                    new = ids.add(text_hashes([(key,) for _, key, _ in chunk]))
                    for (number, key, title), first in zip(chunk, new.tolist(), strict=True):
                        if first:
                            rows += 1
                            yield Title(key, title)
                        else:
                            rejects.add(path, number, self.id, "duplicate id", key)
            rejects.check(max(rows + rejects.count, 1))
        finally:
            rejects.close()
            if rejected is not None and not rejects.count:
                rejected.unlink(missing_ok=True)

    def _good(
        self, path: Path, rejects: Rejects, progress: Callable[[int], None] | None
    ) -> Iterator[tuple[int, str, str]]:
        reading = Reading.of(self)
        for row in read_checked_rows(
            path, (self.title,), rejects, others=(self.id,), reading=reading, progress=progress
        ):
            key = name(row.others[0])
            fault = "empty id" if not key else text_fault(key, MAX_ID).replace("data.max_chars=", "")
            if fault:
                rejects.add(path, row.number, self.id, fault, key)
            else:
                yield row.number, key, row.texts[0]
