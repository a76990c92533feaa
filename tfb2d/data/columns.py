"""Finds columns in a file's header; a missing column's error names the nearest."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from tfb2d.errors import DataError


def column_indices(
    path: Path, present: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int | None]:
    """Returns the indices of columns among those present; None for an optional one that is not there.

    Raises:
      DataError: a column is missing, or stands in the header twice.
    """
    for column in (*columns, *optional):
        if list(present).count(column) > 1:
            raise DataError(f"{path}: column {column!r} occurs more than once in the header")
    for column in columns:
        if column not in present:
            raise missing_column(path, column, columns, present)
    return [present.index(c) if c in present else None for c in (*columns, *optional)]


def missing_column(path: Path, column: str, columns: Sequence[str], present: Sequence[str]) -> DataError:
    """Returns the error of a file without `column`, one of `columns`; it names the nearest column that is there."""
    has = ", ".join(repr(c[:40]) for c in present[:20]) + (", ..." if len(present) > 20 else "")
    if not set(columns) & set(present):
        names = ", ".join(map(repr, columns))
        return DataError(f"{path} has none of the columns {names} that the config names; it has {has or 'none at all'}")
    near = difflib.get_close_matches(column, present, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return DataError(f"{path} has no column {column!r}{hint} (its columns: {has})")
