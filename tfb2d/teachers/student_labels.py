"""A second distillation: students label in a teacher's place.

A student scores texts far faster than the teachers that taught it. So it can teach a smaller student by millions of texts
that are made of others (`data.augment`), for which teachers would take days. docs/scale.md has the settings and figures.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfb2d.atomic import fingerprint_files
from tfb2d.config import ConfigError
from tfb2d.data.tables import TableRows
from tfb2d.data.task import Task
from tfb2d.evaluation.scorer import Scorer
from tfb2d.model_folder import version_folder
from tfb2d.teachers import shards


class Students:
    """Scores texts with the mean of several exported students' logits.

    Args:
      models: version folders of exported students.
      task: of the run that they are to teach.

    Attributes:
      fingerprint: a digest of what the logits depend on besides the texts.

    Raises:
      ConfigError: a folder that is no version, or a student of another task.
      DataError, UserError: as `Scorer`.
    """

    def __init__(self, models: Sequence[str], task: Task) -> None:
        self._task = task
        self._scorers = [Scorer(_version(model)) for model in models]
        for scorer in self._scorers:
            theirs = scorer.task
            if (theirs.kind, theirs.classes, len(theirs.fields)) != (task.kind, task.classes, len(task.fields)):
                raise ConfigError(
                    f"teachers.*.students: {scorer.folder} is a student of another task: {theirs}, not {task}"
                )
        served = [scorer.folder / "saved_model.pb" for scorer in self._scorers]
        weights = [path for scorer in self._scorers for path in sorted((scorer.folder / "variables").iterdir())]
        self.fingerprint = fingerprint_files([*served, *weights])

    def logits(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns logits `[n, k]` float32, before calibration, of n texts a field."""
        logits = np.mean([scorer.score(columns)[1] for scorer in self._scorers], 0)
        return logits.reshape(-1, self._task.n_logits)


def _version(model: str) -> Path:
    """Returns a version's folder. A model's folder is none: this run's own export may become its newest version."""
    folder = Path(model).expanduser()
    if not (folder / "saved_model.pb").exists():
        hint = f"; name a version, such as {version_folder(folder)}" if folder.is_dir() else ""
        raise ConfigError(f"teachers.*.students: {folder} is no exported student's version{hint}")
    return folder


def label_by_students(
    models: Sequence[str], task: Task, source: Path, out: Path, rows_per_shard: int, progress: bool = True
) -> int:
    """Writes students' logits for a table, row for row. After a kill it continues with the missing shards.

    Args:
      models: see `Students`.
      task: of the run.
      source: folder of `part-*.parquet` with the text columns.
      out: gets `part-*.parquet`: the text columns, and `logit` or `logit_0`, `logit_1`, ..., float32.
      rows_per_shard: rows of each part.

    Returns:
      How many rows there are.

    Raises:
      ConfigError, DataError, UserError: see `Students`; or there is no table.
      RunError: `out` holds the logits of other students or rows.
    """
    rows = TableRows(source, task.fields)
    students = Students(models, task)
    shards.begin(out, {"made_by": students.fingerprint, "rows": len(rows), "rows_per_shard": rows_per_shard})
    todo = shards.missing_shards(out, max(1, -(-len(rows) // rows_per_shard)))
    done = len(rows) - sum(min(rows_per_shard, len(rows) - index * rows_per_shard) for index in todo)
    with tqdm(total=len(rows), initial=done, desc=f"labelling {out.name}", unit="row", disable=not progress) as bar:
        for index in todo:
            table = rows.read(index * rows_per_shard, rows_per_shard)
            logits = students.logits([table[field].to_pylist() for field in task.fields])
            shards.write_shard(out, index, table, logits, students.fingerprint)
            bar.update(table.num_rows)
    return len(rows)
