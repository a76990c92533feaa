"""Rows of any file, checked by one rule: a row that cannot be used is rejected and counted, and reading goes on.

Whatever reads texts of users' files (labelling, scoring, teachers' scores, explanations, request logs' references) reads
them here, so that a row is good or bad for all of them alike. Labelled examples have more rules: `examples.py`.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfb2d.data.checks import MAX_CHARS, check_numbers, check_texts, read_number
from tfb2d.data.readers import read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem, Progress


class CheckedRow(NamedTuple):
    """A row that passed the checks: where it starts (see `Row.number`), its texts, its numbers, its other values."""

    number: int
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    others: tuple[Any, ...]


def read_checked_rows(
    path: Path,
    fields: Sequence[str],
    rejects: Rejects,
    *,
    numbers: Sequence[str] = (),
    others: Sequence[str] = (),
    lowest: float = -math.inf,
    highest: float = math.inf,
    keep_unscored: bool = False,
    max_chars: int = MAX_CHARS,
    progress: Progress | None = None,
) -> Iterator[CheckedRow]:
    """Streams the rows of one file that pass the checks; each of the others goes to `rejects` with file, row and field.

    A text must be valid UTF-8 without NUL bytes and at most `max_chars` long, and a row needs one text that is not blank;
    a null text is "". A number may stand as text ("0.25"); null, blank, NaN, infinite and other values are rejected.
    The caller calls `rejects.begin()` before a set of files and `rejects.judge(rows)` after it, which stops where too
    large a share was rejected.

    Args:
      path: the file; its ending says the format.
      fields: text columns that it must have.
      rejects: gets the rows that cannot be used.
      numbers: columns of numbers that it must have.
      others: columns whose values are passed on as they are, None throughout where the file does not have them.
      lowest: smallest number allowed.
      highest: largest number allowed.
      keep_unscored: whether rows without any number (all null, blank or NaN) are good; their numbers are NaN then.
      max_chars: the longest text that is used.
      progress: called with the bytes read since the last call.

    Yields:
      CheckedRow, in the order of the file; `texts`, `numbers` and `others` follow the columns' order.

    Raises:
      DataError: the file is empty, unreadable, cut short, of an unknown kind, or lacks a column.
    """
    fields, numbers = tuple(fields), tuple(numbers)
    text_end, number_end = len(fields), len(fields) + len(numbers)
    for row in read_rows(path, (*fields, *numbers), tuple(others), progress):
        problem = row.problem
        texts: tuple[str, ...] = ()
        scores: tuple[float, ...] = ()
        if problem is None:
            texts = tuple("" if text is None else text for text in row.values[:text_end])
            problem = check_texts(fields, texts, max_chars)
        if problem is None and numbers:
            values = row.values[text_end:number_end]
            unscored = keep_unscored and _all_missing(values)
            read = (math.nan,) * len(numbers) if unscored else check_numbers(numbers, values, lowest, highest)
            if isinstance(read, Problem):
                problem = read
            else:
                scores = read
        if problem is None:
            yield CheckedRow(row.number, texts, scores, row.values[number_end:])
        else:
            rejects.add(path, row.number, *problem)


def _all_missing(values: Sequence[Any]) -> bool:
    """Whether a row has no number at all: this is how a table says that nobody scored it."""
    return all((number := read_number(value)) is not None and math.isnan(number) for value in values)
