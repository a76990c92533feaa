"""A teacher's scores of labelled rows, joined by text from files, as probabilities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfb2d.data.join import Matches, join_scores
from tfb2d.data.readers import AS_USUAL, Reading
from tfb2d.data.task import Task
from tfb2d.distill.stack import probabilities
from tfb2d.evaluation.scores import Floats


def teacher_scores(
    task: Task, files: Sequence[str | Path], columns: Sequence[Sequence[str]], reading: Reading = AS_USUAL
) -> tuple[Floats, Matches]:
    """Finds the probabilities that files hold for rows; see `data.scores` for columns, `data.join` for matching.

    Args:
      task: of the labelled rows.
      files: paths, globs, folders.
      columns: the rows' texts, one sequence of n texts a field.
      reading: how the files are read.

    Returns:
      (float64 `[n]` or, of a multi-class task, `[n, k]`, NaN where no file has a score for the text; how many matched).

    Raises:
      DataError: a file that cannot be used, without such columns, with too many bad rows, or with scores of other rows.
    """
    logits, matches = join_scores(task, files, columns, reading=reading)
    scores = probabilities(logits).astype(np.float64)
    return (scores if task.kind == "multiclass" else scores[:, 0]), matches
