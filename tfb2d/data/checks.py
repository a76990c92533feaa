"""Rules for the texts and numbers of a row, the same for every reader of files."""

import math
from collections.abc import Sequence
from typing import Any

from tfb2d.data.rows import EXCERPT, Problem

MAX_CHARS = 20_000  # of one text, where no setting says otherwise


def text_fault(text: object, max_chars: int) -> str:
    """Says why a value cannot be used as a text field; "" if it can."""
    if not isinstance(text, str):
        return f"not text but {type(text).__name__}"
    if "\0" in text:
        return "NUL byte"
    if len(text) > max_chars:
        return f"longer than data.max_chars={max_chars} characters"
    return "" if text.isascii() or _encodes(text) else "invalid UTF-8"


def check_texts(columns: Sequence[str], texts: Sequence[object], max_chars: int) -> Problem | None:
    """Says what is wrong with a row's texts; None if nothing is.

    Args:
      columns: names of the text columns in the file.
      texts: their values; a missing value is "".
      max_chars: the longest text that is used.
    """
    for column, text in zip(columns, texts, strict=True):
        if reason := text_fault(text, max_chars):
            return Problem(column, reason, str(text)[:EXCERPT])
    return None if any(str(text).strip() for text in texts) else Problem(columns[0], "empty text", "")


def read_number(value: Any) -> float | None:
    """Reads a number that a file holds as a number or as text.

    Returns:
      The number; NaN for a missing value (null, blank, NaN); None for anything else. Booleans are no numbers, nor are
      digits with underscores, which Python alone takes for numbers.
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


def _encodes(text: str) -> bool:
    """Says whether a text has no lone surrogates, which stand for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
