"""A row of a file: its type, what is wrong with it, and the rules for its columns, texts and numbers."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfb2d.errors import DataError, nearest

MAX_CHARS = 20_000  # of one text, where no setting says otherwise
EXCERPT = 200  # characters of a value that a problem shows
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # stands for a byte that is not UTF-8
Progress = Callable[[int], None]  # called with the bytes of the file on disk that were read since the last call


class Problem(NamedTuple):
    """Says why a row cannot be used."""

    field: str  # the column; "" for the row as a whole
    reason: str
    excerpt: str  # the beginning of the value


class Row(NamedTuple):
    """A row of a file. Bytes of a text that are not UTF-8 come as lone surrogates (`surrogateescape`)."""

    number: int  # the line where it starts, so that an editor finds it; in Parquet the row. Both count from 1
    values: tuple[Any, ...]  # of the columns named to the reader, in their order; None where the file has no value
    problem: Problem | None = None  # why the row cannot be used; its `values` are then empty
    lines: int = 1  # physical lines that it takes up; more than 1 where a quoted value holds line breaks


def column_indices(
    path: Path, present: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int | None]:
    """Returns the indices of columns, None where an optional one is missing.

    Raises DataError where a required column is missing, or a column is in the header twice.
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
    hint = nearest(repr(column), map(repr, present))
    return DataError(f"{path} has no column {column!r}{hint} (its columns: {has})")


def text_fault(text: object, max_chars: int) -> str:
    """Says why a value cannot be used as a text field; "" if it can."""
    if not isinstance(text, str):
        return f"not text but {type(text).__name__}"
    if "\0" in text:
        return "NUL byte"
    if len(text) > max_chars:
        return f"longer than data.max_chars={max_chars} characters"
    return "invalid UTF-8" if _SURROGATE.search(text) else ""


def check_texts(columns: Sequence[str], texts: Sequence[object], max_chars: int) -> Problem | None:
    """Says what is wrong with the texts of a row's columns ("" where one is missing); None if nothing is."""
    for column, text in zip(columns, texts, strict=True):
        if reason := text_fault(text, max_chars):
            return Problem(column, reason, str(text)[:EXCERPT])
    return None if any(str(text).strip() for text in texts) else Problem(columns[0], "empty text", "")


def read_number(value: Any) -> float | None:
    """Reads a number that a file holds as a number or as text.

    Returns the number; NaN for a missing value (null, blank, NaN); None for anything else. Booleans are no numbers, nor
    are digits with underscores, which Python alone takes for numbers.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not value.strip():
            return math.nan
        if "_" in value or not value.isascii():
            return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def check_numbers(
    columns: Sequence[str], values: Sequence[Any], lowest: float, highest: float
) -> tuple[float, ...] | Problem:
    """Reads a row's numbers, or says what is wrong with the first bad one; NaN and infinity are bad ones."""
    numbers = []
    for column, value in zip(columns, values, strict=True):
        number = read_number(value)
        excerpt = str(value)[:EXCERPT]
        if number is None:
            return Problem(column, "not a number", excerpt)
        if math.isnan(number):
            return Problem(column, "missing number", excerpt)
        if not math.isfinite(number):
            return Problem(column, "not a finite number", excerpt)
        if not lowest <= number <= highest:
            return Problem(column, f"number outside {lowest:g} to {highest:g}", excerpt)
        numbers.append(number)
    return tuple(numbers)
