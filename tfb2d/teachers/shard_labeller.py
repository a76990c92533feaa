"""Labels the rows of shards: the local loop and Ray's actors both run this, so the bytes are the same."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.data.keys import look_up, text_hashes
from tfb2d.data.tables import TableRows, iter_part, logit_names
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.resume import fingerprint
from tfb2d.teachers import shards
from tfb2d.teachers.saved import read_about, teacher_identity

if TYPE_CHECKING:
    from tfb2d.teachers.teacher import Teacher


@dataclass(frozen=True)
class LabelJob:
    """Describes the labelling of a table, whose pieces are its shards; a machine of a cluster can start it."""

    # teacher, source, out: absolute paths, on storage that all machines share
    teacher: str
    source: str
    part_rows: tuple[int, ...]  # rows of each part of `source`
    columns: tuple[str, ...]  # of `source`, which the shards get
    fields: tuple[str, ...]  # the text columns among them, in the order of the task's fields
    out: str
    # rows_per_shard, batch_tokens: see `LabelConfig`
    rows_per_shard: int
    batch_tokens: int
    made_by: str  # what the driver knows of the teacher
    # Folders with this teacher's logits of other tables; texts in them keep their logits
    earlier: tuple[str, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()  # variables to set before Keras is imported; None unsets one

    def start(self) -> Callable[[int], tuple[int, int]]:
        """Returns the function that labels a shard and says how many rows it has, and how many of them no logit.

        A row for which the teacher gives no finite number gets NaN: it has no logit, like one without a score from outside.

        Raises:
          ConfigError: there is no teacher on this machine.
          DataError: this machine has another teacher, or another output folder, than the driver; of the function also: no
            row of the shard gets a finite number.
        """
        for name, value in self.environment:
            os.environ.pop(name, None)
            os.environ.update({name: value} if value else {})
        folder, out = Path(self.teacher), Path(self.out)
        if not (out / shards.MANIFEST).exists():
            raise DataError(f"{out} is not the driver's folder; all machines must share the output's storage")
        n_logits = Task.from_json(read_about(folder)["task"]).n_logits
        if made_by(folder, self.fields) != self.made_by:
            raise DataError(f"{folder} is not the driver's teacher; all machines must have the same one")
        rows = TableRows(Path(self.source), self.columns, self.part_rows)
        known = KnownLogits([Path(path) for path in self.earlier], self.made_by, self.fields, n_logits)

        @cache
        def teacher() -> "Teacher":
            from tfb2d.teachers.teacher import load_teacher  # Keras: not before there is something to do

            return load_teacher(folder)

        def label(index: int) -> tuple[int, int]:
            table = rows.read(index * self.rows_per_shard, self.rows_per_shard)
            columns = [table[name].to_pylist() for name in self.fields]
            is_known, logits = known.look_up(columns)
            new = np.flatnonzero(~is_known)
            if len(new):
                logits[new] = teacher().logits([[column[row] for row in new] for column in columns], self.batch_tokens)
            without = ~np.isfinite(logits).all(1)
            logits[without] = np.nan
            if len(without) and without.all():
                texts = ", ".join(
                    f"{name}={column[0][:60]!r}" for name, column in zip(self.fields, columns, strict=True)
                )
                raise DataError(
                    f"{folder}: the teacher gives no finite number for any row of shard {index}, the first: {texts}; "
                    "its weights are damaged, or its mixed precision overflows"
                )
            shards.write_shard(out, index, table, logits, self.made_by)
            return table.num_rows, int(without.sum())

        return label


def made_by(teacher: Path, fields: Sequence[str]) -> str:
    """Returns the digest of a teacher and its fields, see `shards.MADE_BY`."""
    return fingerprint(teacher_identity(teacher), list(fields))


class KnownLogits:
    """Looks up logits that a teacher wrote before by their texts, in memory: 8 bytes a row for its hash, and 4 a logit.

    `folders` hold shards; a missing folder is passed over, and so are shards of another teacher, by `made_by`, the
    digest of the teacher and its fields (`shards.MADE_BY`).
    """

    def __init__(self, folders: Sequence[Path], made_by: str, fields: Sequence[str], n_logits: int) -> None:
        names = logit_names(n_logits)
        hashes, logits = [np.empty(0, np.uint64)], [np.empty((0, n_logits), np.float32)]
        for part in [part for folder in folders for part in sorted(folder.glob("part-*.parquet"))]:
            if shards.made_by(part) != made_by:
                continue
            for batch in iter_part(part, [*fields, *names]):
                hashes.append(text_hashes(zip(*(batch.column(name).to_pylist() for name in fields), strict=True)))
                logits.append(np.stack([batch.column(name).to_numpy() for name in names], 1))
        self.hashes, first = np.unique(np.concatenate(hashes), return_index=True)
        self.logits = np.concatenate(logits)[first]

    def look_up(self, columns: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Looks up n texts a field: which are known, bool [n], and their logits, float32 [n, k]; others mean nothing."""
        hashes = text_hashes(zip(*columns, strict=True))
        indices, known = look_up(hashes, self.hashes)
        logits = np.empty((len(hashes), self.logits.shape[1]), np.float32)
        logits[known] = self.logits[indices[known]]
        return known, logits
