"""Types that the readers of files share: a row, and what is wrong with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

EXCERPT = 200  # characters of a value that a problem shows
Progress = Callable[[int], None]  # called with the bytes of the file on disk that were read since the last call


class Problem(NamedTuple):
    """Says why a row cannot be used.

    Attributes:
      field: the column; "" for the row as a whole.
      reason: in words.
      excerpt: the beginning of the value.
    """

    field: str
    reason: str
    excerpt: str


class Row(NamedTuple):
    """A row of a file.

    Attributes:
      number: the line where the row starts, counted from 1, so that an editor finds it (a header is line 1). In Parquet
        the row's number, counted from 1.
      values: of the columns named to the reader, in their order; None where the file has no value. Bytes of a text that
        are not UTF-8 come as lone surrogates (`surrogateescape`).
      problem: why the row cannot be used; its `values` are then empty.
      lines: physical lines that the row takes up; more than 1 where a quoted value holds line breaks.
    """

    number: int
    values: tuple[Any, ...]
    problem: Problem | None = None
    lines: int = 1
