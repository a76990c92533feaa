"""Reads rows of any file and checks them. A row that cannot be used is rejected and counted, and reading continues.

Whatever reads texts from users' files reads them here: labelling, scoring, explaining, scores from outside, monitoring. So
the same rule holds for all of them. Labelled examples have more rules: see `examples.py`.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tfb2d.data.readers import AS_USUAL, Reading, read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem, Progress, check_numbers, check_texts, read_number, text_fault
from tfb2d.data.task import name
from tfb2d.errors import counted

BATCH_ROWS = 4096
_log = logging.getLogger(__name__)


class CheckedRow(NamedTuple):
    """A row that passed the checks; `number` and `lines` are those of `Row`."""

    number: int
    texts: tuple[str, ...]  # a text per text column
    numbers: tuple[float, ...]  # a number per column of numbers
    others: tuple[Any, ...]  # the other columns' values
    lines: int = 1


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
    check: Callable[[CheckedRow], Problem | None] | None = None,
    reading: Reading = AS_USUAL,
    progress: Progress | None = None,
) -> Iterator[CheckedRow]:
    """Streams the rows of a file that pass the checks; each of the others goes to `rejects` with file, row and field.

    A text must be valid UTF-8 without NUL bytes and at most `reading.max_chars` long. A null text is "", and a row needs a
    text that is not blank. A number may be text ("0.25"); null, blank, NaN and infinite values are rejected. The
    caller calls `rejects.begin()` before a set of files. Afterwards it calls `rejects.check(rows)`, which stops the run
    where too large a share was rejected.

    Args:
      path: the file; its ending says the format.
      fields: text columns that it must have.
      rejects: gets the rows that cannot be used, and how the file was read (`dialects`).
      numbers: columns of numbers that it must have, from `lowest` to `highest`.
      others: columns whose values are passed on as they are, None throughout where the file does not have them.
      keep_unscored: whether rows without any number (all null, blank or NaN) are good; their numbers are NaN then.
      check: says what else is wrong with a row; None if nothing is.
      reading: its `max_chars` and `quoting`; the share of bad rows is that of `rejects`.
      progress: called with the bytes read since the last call.

    Yields:
      CheckedRow, in the order of the file; `texts`, `numbers` and `others` follow the columns' order.

    Raises:
      DataError: the file is empty, unreadable, cut short, of an unknown kind, or lacks a column.
    """
    text_end, number_end = len(fields), len(fields) + len(numbers)
    _, max_chars, quoting = reading
    for row in read_rows(path, (*fields, *numbers), tuple(others), progress, quoting, rejects.dialects, max_chars):
        problem = row.problem
        texts = tuple("" if text is None else text for text in row.values[:text_end])
        values = row.values[text_end:number_end]
        scores: tuple[float, ...] = ()
        if problem is None:
            problem = check_texts(fields, texts, max_chars)
        if problem is None and numbers:
            unscored = keep_unscored and _all_missing(values)
            read = (math.nan,) * len(numbers) if unscored else check_numbers(numbers, values, lowest, highest)
            if isinstance(read, Problem):
                problem = read
            else:
                scores = read
        checked = CheckedRow(row.number, texts, scores, row.values[number_end:], row.lines)
        if problem is None and check is not None:
            problem = check(checked)
        if problem is None:
            rejects.keep(row.lines)
            yield checked
        else:
            rejects.add(path, row.number, *problem, lines=row.lines)


def read_texts(
    paths: Iterable[Path], fields: Sequence[str], progress: Progress | None = None, quoting: str = "auto"
) -> Iterator[tuple[str, ...]]:
    """Streams the texts of files' good rows; rejected rows are logged at the end.

    The arguments are those of `read_checked_rows`, which says what is rejected. Raises DataError for an unusable file.
    """
    rejects = Rejects(None, 1.0)
    for path in paths:
        for row in read_checked_rows(path, fields, rejects, reading=Reading(quoting=quoting), progress=progress):
            yield row.texts
    if rejects.count:
        _log.warning("%s left out, which cannot be used: %s", counted(rejects.count, "row"), rejects.summary())


def text_batches(
    paths: Sequence[Path], columns: Sequence[str], keep: Sequence[str], reading: Reading, rejects: Rejects
) -> Iterator[pa.RecordBatch]:
    """Streams the rows that can be used, in batches, for labelling and preparing files; the others go to `rejects`.

    Yields at most BATCH_ROWS rows: the text `columns`, which files must have, then those to `keep`, "" where a file has
    none. All are strings. Raises DataError for a file that cannot be used.
    """

    def check(row: CheckedRow) -> Problem | None:
        for column, value in zip(keep, map(name, row.others), strict=True):
            if fault := text_fault(value, reading.max_chars):
                return Problem(column, fault, value)
        return None

    schema = pa.schema([(column, pa.string()) for column in (*columns, *keep)])
    rows: list[tuple[str, ...]] = []
    for path in paths:
        for row in read_checked_rows(path, columns, rejects, others=keep, check=check, reading=reading):
            rows.append((*row.texts, *map(name, row.others)))
            if len(rows) == BATCH_ROWS:
                yield pa.record_batch(list(zip(*rows, strict=True)), schema)
                rows = []
    if rows:
        yield pa.record_batch(list(zip(*rows, strict=True)), schema)


def _all_missing(values: Sequence[Any]) -> bool:
    """Says whether a row has no number at all, which means that nobody scored it."""
    return all((number := read_number(value)) is not None and math.isnan(number) for value in values)
