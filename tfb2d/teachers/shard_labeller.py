"""Labels the rows of a shard: the local loop and Ray's actors both call this, so the bytes are the same."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tfb2d.data.tables import TableRows
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.resume import fingerprint
from tfb2d.teachers.known import KnownLogits
from tfb2d.teachers.saved import read_about, teacher_identity
from tfb2d.teachers.shards import MANIFEST, write_shard

if TYPE_CHECKING:
    from tfb2d.teachers.teacher import Teacher


class ShardLabeller:
    """Labels the rows of shards. The teacher is loaded with the first text that has no logit yet.

    A row for which the teacher gives no finite number gets NaN: it has no logit, like a row without a score from outside.

    Args:
      teacher: a saved teacher's folder.
      fields: the text columns, in the order of the task's fields.
      out: where the shards go.
      batch_tokens: tokens of a forward pass, padding included.
      earlier: folders with this teacher's logits of other tables; texts that stand there keep their logits.

    Attributes:
      n_logits: logits a row.
      made_by: digest of the teacher and its fields, see `shards.MADE_BY`.
    """

    def __init__(
        self, teacher: Path, fields: Sequence[str], out: Path, batch_tokens: int, earlier: Sequence[Path] = ()
    ) -> None:
        self.n_logits = Task.from_json(read_about(teacher)["task"]).n_logits
        self.made_by = made_by(teacher, fields)
        self._folder, self._fields, self._out, self._batch_tokens = teacher, fields, out, batch_tokens
        self._known = KnownLogits(earlier, self.made_by, fields, self.n_logits)
        self._teacher: Teacher | None = None

    def label(self, index: int, table: pa.Table) -> tuple[int, int]:
        """Labels a shard's rows and writes the shard, atomically.

        Returns:
          How many rows there are, and how many of them have no logit.

        Raises:
          DataError: no row gets a finite number.
        """
        columns = [table[name].to_pylist() for name in self._fields]
        known, logits = self._known.look_up(columns)
        new = np.flatnonzero(~known)
        if len(new):
            if self._teacher is None:
                from tfb2d.teachers.teacher import load_teacher  # Keras: not before there is something to do

                self._teacher = load_teacher(self._folder)
            logits[new] = self._teacher.logits([[column[row] for row in new] for column in columns], self._batch_tokens)
        without = ~np.isfinite(logits).all(1)
        logits[without] = np.nan
        if len(without) and without.all():
            texts = ", ".join(f"{name}={column[0][:60]!r}" for name, column in zip(self._fields, columns, strict=True))
            raise DataError(
                f"{self._folder}: the teacher gives no finite number for any row of shard {index}, the first: {texts}; "
                "its weights are damaged, or its mixed precision overflows"
            )
        write_shard(self._out, index, table, logits, self.made_by)
        return table.num_rows, int(without.sum())


def made_by(teacher: Path, fields: Sequence[str]) -> str:
    """Returns the digest of a teacher and its fields, see `shards.MADE_BY`."""
    return fingerprint(teacher_identity(teacher), list(fields))


@dataclass(frozen=True)
class LabelJob:
    """Describes the labelling of a table, whose pieces are its shards; a machine of a cluster can start it.

    Attributes:
      teacher, source, out: absolute paths, on storage that all machines share.
      part_rows: rows of each part of `source`.
      columns: of `source`, which the shards get.
      fields: the text columns among them, in the order of the task's fields.
      rows_per_shard, batch_tokens: see `LabelConfig`.
      made_by: what the driver knows of the teacher.
      earlier: see `ShardLabeller`.
      environment: variables to set before Keras is imported; None unsets one.
    """

    teacher: str
    source: str
    part_rows: tuple[int, ...]
    columns: tuple[str, ...]
    fields: tuple[str, ...]
    out: str
    rows_per_shard: int
    batch_tokens: int
    made_by: str
    earlier: tuple[str, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()

    def start(self) -> Callable[[int], tuple[int, int]]:
        """Returns the function that labels a shard; see `ShardLabeller.label`.

        Raises:
          ConfigError: there is no teacher on this machine.
          DataError: this machine has another teacher, or another output folder, than the driver.
        """
        for name, value in self.environment:
            os.environ.pop(name, None)
            os.environ.update({name: value} if value else {})
        out = Path(self.out)
        if not (out / MANIFEST).exists():
            raise DataError(f"{out} is not the driver's folder; all machines must share the output's storage")
        labeller = ShardLabeller(
            Path(self.teacher), self.fields, out, self.batch_tokens, [Path(folder) for folder in self.earlier]
        )
        if labeller.made_by != self.made_by:
            raise DataError(f"{self.teacher} is not the driver's teacher; all machines must have the same one")
        rows = TableRows(Path(self.source), self.columns, self.part_rows)

        def work(index: int) -> tuple[int, int]:
            return labeller.label(index, rows.read(index * self.rows_per_shard, self.rows_per_shard))

        return work
