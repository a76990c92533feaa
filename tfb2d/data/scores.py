"""Reads scores from users' files: which columns hold them, and how they become logits."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from numpy.typing import NDArray

from tfb2d.data.checked_rows import CheckedRow, read_checked_rows
from tfb2d.data.readers import AS_USUAL, Reading, columns_of
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem
from tfb2d.data.task import Task
from tfb2d.errors import DataError

KINDS = ("logit", "score", "probability")  # the column's name, or how several columns' names begin, by default
LEAST = 1e-6  # probabilities are kept this far from 0 and 1: logits stay within 13.8
SLACK = 1e-4  # a probability may be this far outside: fastText adds 1e-5 to each
FEW = 10  # values of fewer rows do not show whether a column holds probabilities
CHUNK = 8192
OUTSIDE = "no probability, which lies in [0, 1]"  # why a row is rejected


class ScoreColumns(NamedTuple):
    """Names the columns of a file that hold its scores."""

    names: tuple[str, ...]  # a single column, or a column per class (of a binary task two, the negative class first)
    probabilities: bool  # whether they hold probabilities; logits otherwise


class Scored(NamedTuple):
    """Holds some rows of a file."""

    texts: list[tuple[str, ...]]  # of each row
    logits: NDArray[np.float64]  # [n, k], NaN where a row has no score


def score_columns(path: Path, task: Task, column: str = "", quoting: str = "auto") -> ScoreColumns:
    """Finds a file's score columns; `column` is their name, or how their names begin, "" looks for the usual ones.

    They are called `logit`, `score` or `probability`. Of several classes they are `logit_0`, `logit_1`, ... or
    `logit_CLASS`, ..., which a binary task may have too. A name with "score" or "prob" in it means probabilities, any other
    name logits. Raises DataError where the file has none of these columns, or more than the task has classes.
    """
    present = columns_of(path, quoting)
    tried = [(kind, family) for kind in ([column] if column else KINDS) for family in _families(kind, task)]
    for kind, family in tried:
        if set(family) <= set(present):
            following = f"{kind}_{len(family)}"
            if family[0] == f"{kind}_0" and following in present:  # it belongs to another task
                raise DataError(f"{path} has a column {following!r} too many: the task takes {', '.join(family)}")
            return ScoreColumns(family, any(word in family[0].lower() for word in ("score", "prob")))
    choice = " or ".join(", ".join(family) for _, family in tried)
    raise DataError(f"{path} has no column of scores: {choice} (its columns: {', '.join(present[:20])})")


def read_scores(
    path: Path, task: Task, rejects: Rejects, column: str = "", reading: Reading = AS_USUAL
) -> Iterator[Scored]:
    """Streams a file's texts, in columns called as the task's fields, and their logits, up to CHUNK rows at a time.

    Probabilities become log-odds, or logarithms if there is a column per class. Of a binary task with two columns the logit
    is their difference. Scores of a graded task lie in [0, 1] too: 0 is the lowest grade, 1 the highest. A row that cannot
    be used goes to `rejects`, one with a probability outside [0, 1] among them; a row without a score gets NaN. Raises
    DataError for a file that cannot be used, or as `score_columns` does.
    """
    columns = score_columns(path, task, column, reading.quoting)

    def check(row: CheckedRow) -> Problem | None:
        for name, number in zip(columns.names, row.numbers, strict=True):
            if number < -SLACK or number > 1 + SLACK:  # False for NaN
                return Problem(name, OUTSIDE, f"{number:g}")
        return None

    texts: list[tuple[str, ...]] = []
    numbers: list[tuple[float, ...]] = []
    scored, within = 0, True
    for row in read_checked_rows(
        path,
        task.fields,
        rejects,
        numbers=columns.names,
        keep_unscored=True,
        check=check if columns.probabilities else None,
        reading=reading,
    ):
        if not columns.probabilities and not np.isnan(row.numbers).all():
            scored += 1
            within = within and all(0 <= number <= 1 for number in row.numbers)
        texts.append(row.texts)
        numbers.append(row.numbers)
        if len(texts) == CHUNK:
            yield Scored(texts, _logits(np.array(numbers), columns, task))
            texts, numbers = [], []
    if texts:
        yield Scored(texts, _logits(np.array(numbers), columns, task))
    if scored >= FEW and within and not columns.probabilities:
        logging.warning(
            f"{path}: all {scored:,} values of {', '.join(columns.names)} lie in [0, 1], as probabilities do, but are "
            "taken as logits; if they are probabilities, call the column 'probability'"
        )


def _families(kind: str, task: Task) -> list[tuple[str, ...]]:
    """Lists the sets of columns that may hold scores of this kind, in the order in which they are tried."""
    if task.kind == "graded":
        return [(kind,), (f"{kind}_0",)]
    classes = len(task.classes) if task.kind == "multiclass" else 2
    several = [tuple(f"{kind}_{i}" for i in range(classes))]
    if task.classes:
        several.append(tuple(f"{kind}_{name}" for name in task.classes))
    return several if task.kind == "multiclass" else [(kind,), *several, (f"{kind}_0",)]


def check_rejected(rejects: Rejects, rows: int, task: Task) -> None:
    """Raises DataError where more than `rejects.max_share` of `rows` score rows were rejected.

    The message says what to do if most of them are no probabilities.
    """
    try:
        rejects.check(rows)
    except DataError as error:
        if 2 * rejects.reasons[OUTSIDE] < rejects.count:
            raise
        advice = "if the column holds logits, call it 'logit'"
        if task.label_range:
            low, high = task.label_range
            grades = f"if it holds grades from {low:g} to {high:g}, write (grade - {low:g}) / {high - low:g} instead"
            advice = f"{grades}; {advice}"
        raise DataError(f"{error}. A column with 'score' or 'prob' in its name holds probabilities: {advice}") from None


def _logits(numbers: NDArray[np.float64], columns: ScoreColumns, task: Task) -> NDArray[np.float64]:
    if columns.probabilities:
        numbers = numbers.clip(LEAST, 1 - LEAST)
        if numbers.shape[1] == 1:
            return np.log(numbers / (1 - numbers))
        numbers = np.log(numbers)
    if task.n_logits == 1 and numbers.shape[1] == 2:
        return numbers[:, 1:] - numbers[:, :1]
    return numbers
