"""A teacher's logits for judged rows, found by their text in files that hold the fields and logit columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.data.errors import DataError
from tfb2d.data.files import expand
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.data.task import Task
from tfb2d.evaluation.metrics import Floats

EPSILON = 1e-7  # a probability of 0 or 1 has no logit


def teacher_scores(task: Task, files: Sequence[str | Path], columns: Sequence[Sequence[str]]) -> Floats:
    """Probabilities of the rows whose text the files hold; the files are streamed, and may hold far more.

    The logits are in `logit` (multi-class: `logit_0..k-1`, or `logit_<class>`), as `logits/<teacher>/` of a run has them;
    where there is none, probabilities in `score` or `probability` (`score_0..k-1`, `score_<class>`) are taken.

    Args:
      task: of the judged rows.
      files: paths, globs, folders.
      columns: the judged texts, one sequence of n texts a field.

    Returns:
      `[n]` or `[n, k]`, NaN where no file has the text, or no score for it. Of a text that occurs more than once, the
      first score counts.

    Raises:
      DataError: a file that cannot be used, without such columns or with a value there that is no such number, or no
        text in common.
    """
    width = task.n_logits
    places: dict[tuple[str, ...], int] = {}
    indices = [places.setdefault(texts, len(places)) for texts in zip(*columns, strict=True)]
    found = np.full((len(places), width), np.nan)
    for path in expand(files):
        names, probabilities = _score_columns(path, task)
        for row in read_rows(path, [*task.fields, *names]):
            texts = tuple("" if text is None else text for text in row.values[: len(task.fields)])
            place = None if row.problem else places.get(texts)
            values = row.values[len(task.fields) :]
            if place is not None and np.isnan(found[place, 0]) and not all(map(_missing, values)):
                found[place] = _numbers(path, row.number, names, values, probabilities)
    if np.isnan(found[:, 0]).all():
        raise DataError(
            f"{', '.join(map(str, files))}: no row has a text of the judged rows, case and spacing included"
        )
    scores = found[indices]
    return scores if task.kind == "multiclass" else scores[:, 0]


def _score_columns(path: Path, task: Task) -> tuple[list[str], bool]:
    """The columns that hold a file's scores, and whether they are probabilities."""
    present = columns_of(path)
    if task.kind == "multiclass":
        ends = [[str(at) for at in range(len(task.classes))], list(task.classes)]
        wanted = [([f"{what}_{end}" for end in each], what == "score") for what in ("logit", "score") for each in ends]
    else:
        wanted = [(["logit"], False), (["logit_0"], False), (["score"], True), (["probability"], True)]
    for names, probabilities in wanted:
        if set(names) <= set(present):
            return names, probabilities
    first = " or ".join(dict.fromkeys(names[0] for names, _ in wanted))
    raise DataError(f"{path} has no teacher's scores: no column {first} (its columns: {', '.join(present[:20])})")


def _missing(value: Any) -> bool:
    """Whether this is how a table says that a row has no score."""
    return value is None or value == "" or value != value  # NaN


def _numbers(path: Path, row: int, names: Sequence[str], values: Sequence[Any], probabilities: bool) -> Floats:
    """One row's probabilities, `[k]`."""
    numbers = np.empty(len(values))
    for at, (name, value) in enumerate(zip(names, values, strict=True)):
        try:
            numbers[at] = float(value)
        except (TypeError, ValueError):
            numbers[at] = np.nan
        good = 0 <= numbers[at] <= 1 if probabilities else np.isfinite(numbers[at])
        if not good:
            kind = "a probability" if probabilities else "a logit"
            raise DataError(f"{path}, row {row}, column {name!r}: {str(value)[:60]!r} is not {kind}")
    if probabilities:
        return numbers if len(numbers) == 1 else numbers / max(numbers.sum(), EPSILON)
    if len(numbers) == 1:
        return 1 / (1 + np.exp(-np.clip(numbers, -700, 700)))
    powers = np.exp(numbers - numbers.max())
    return powers / powers.sum()
