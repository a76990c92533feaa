"""What a reader yields: one row of a file, and what is wrong with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

EXCERPT = 200  # characters of a value that a problem shows
Progress = Callable[[int], None]  # gets how many more bytes of the file, as it lies on the disk, were read


class Problem(NamedTuple):
    """Why a row cannot be used: the field ("" is the row as a whole), the reason, the start of the value."""

    field: str
    reason: str
    excerpt: str


class Row(NamedTuple):
    """One row of a file.

    Attributes:
      number: counts from 1: the line where the row starts, so that an editor finds it (a header is line 1); in Parquet
        the row.
      values: of the columns that the reader was asked for, in their order; None where the file has no value. Text that is
        not valid UTF-8 has its bad bytes as lone surrogates (`surrogateescape`).
      problem: why the row cannot be used; its `values` are then empty.
      lines: physical lines of a text file that the row takes up; more than 1 where a quoted value holds line breaks.
    """

    number: int
    values: tuple[Any, ...]
    problem: Problem | None = None
    lines: int = 1
