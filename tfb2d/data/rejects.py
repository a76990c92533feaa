"""Collects rejected rows: each is written down, all are counted by reason, and too many of them stop the run."""

import json
from collections import Counter
from pathlib import Path

from tfb2d.atomic import sync, temporary_path
from tfb2d.data.rows import EXCERPT
from tfb2d.errors import DataError

SHOWN = 3  # examples in the message that stops a run
MANY = 100  # with fewer rejected rows a run does not stop before a file set's end


class Rejects:
    """Collects the rejected rows of a file set, then of the next, as lines of JSON; at most `max_share` may be rejected.

    A line is `{"file", "row", "lines", "field", "reason", "excerpt"}`. Lines are written beside `path`, and take its
    place on `close`, or when a `with` block ends, with an error or without. A `path` of None writes none.
    """

    def __init__(self, path: Path | None, max_share: float) -> None:
        self.path = path
        self.max_share = max_share
        self.reasons: Counter[str] = Counter()  # rejected lines of all file sets
        self.dialects: dict[str, str] = {}  # how each file was read, by its path; the readers write it
        self._set: Counter[str] = Counter()
        self._more_lines = 0  # of the file set's good rows, beyond one each
        self._of_lines = False  # whether a rejected row of the file set takes up several
        self._first: list[str] = []
        self._lines: list[str] = []
        if path is not None:
            self._partial = temporary_path(path)
            self._partial.write_bytes(b"")

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def count(self) -> int:
        """Returns how many rows were rejected so far; a row that takes up several lines counts once for each."""
        return self.reasons.total()

    def begin(self) -> None:
        """Starts a new file set."""
        self._set.clear()
        self._more_lines, self._of_lines = 0, False
        self._first.clear()

    def keep(self, lines: int) -> None:
        """Counts a good row, and the lines that it takes up."""
        self._more_lines += lines - 1

    def add(self, file: str | Path, row: int, field: str, reason: str, excerpt: str = "", lines: int = 1) -> None:
        """Rejects a row; see `rows.Row` and `rows.Problem`. Each of the physical lines that it takes up counts as a row."""
        excerpt = excerpt[:EXCERPT].encode("utf-8", "backslashreplace").decode()
        self.reasons[reason] += lines
        self._set[reason] += lines
        self._of_lines = self._of_lines or lines > 1
        if len(self._first) < SHOWN:
            where = f"{file}, row {row}" + (f", field {field!r}" if field else "")
            self._first.append(f"{where}: {reason}: {excerpt[:60]!r}")
        entry = {"file": str(file), "row": row, "lines": lines, "field": field, "reason": reason, "excerpt": excerpt}
        self._lines.append(json.dumps(entry, ensure_ascii=False))
        if len(self._lines) >= 1000:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that are held in memory."""
        if self.path is not None and self._lines:
            with self._partial.open("a", encoding="utf-8") as out:
                out.write("\n".join(self._lines) + "\n")
        self._lines.clear()

    def close(self) -> None:
        """Writes the last rows and renames the file to its final name."""
        self.flush()
        if self.path is not None:
            sync(self._partial)
            self._partial.replace(self.path)

    def check(self, rows: int, share_read: float = 1.0) -> None:
        """Stops the run when too many rows were rejected.

        Before the file set's end it stops only when the rows rejected so far are twice too many for the whole set.

        Args:
          rows: rows read of this file set, rejected ones included with each of their lines.
          share_read: share of the file set's bytes that has been read, in (0, 1].

        Raises:
          DataError: with the counts by reason and the first examples.
        """
        self.flush()
        rejected, rows = self._set.total(), rows + self._more_lines
        unit = "lines" if self._of_lines or self._more_lines else "rows"
        if share_read < 1 and (rejected < MANY or rejected <= 2 * self.max_share * rows / share_read):
            return
        if rejected > self.max_share * rows:
            kept = f"; all of them are in {self.path}" if self.path is not None else ""
            raise DataError(
                f"{rejected:,} of {rows:,} {unit} cannot be used, more than data.max_rejected={self.max_share:g} allows: "
                f"{self.summary()}{kept}"
            )

    def summary(self) -> str:
        """Returns what was rejected of this file set: rows by reason, and the first examples."""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self._set.most_common())
        return f"{counts}. The first: {'; '.join(self._first)}"
