"""Labelling: a saved teacher's logits of any rows."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from tfb2d.config import LabelConfig
from tfb2d.data.tables import count_rows, iter_part, part_files, regroup
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.resume import fingerprint
from tfb2d.teachers.known import KnownLogits
from tfb2d.teachers.saved import read_about, teacher_identity
from tfb2d.teachers.shards import finished_shards, write_shard

RowsFrom = Callable[[int], Iterator[pa.RecordBatch]]  # streams the source's rows from an index on


def label_folder(
    teacher: Path,
    source: Path,
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
) -> None:
    """Writes a teacher's logits for a table, row for row, `config.rows_per_shard` rows a shard.

    After a kill it goes on behind the last whole shard and ends with the same bytes. The caller makes sure that the shards
    in `out` are of the same teacher, rows and settings (`resume.bring_up`).

    Args:
      teacher: a saved teacher's folder.
      source: folder of `part-*.parquet` with the task's text fields.
      out: gets `part-*.parquet`: the fields, and `logit` or `logit_0`, `logit_1`, ..., float32.
      config: shard and batch sizes.
      progress: whether to show a progress bar.
      earlier: folders with this teacher's logits of other tables; texts that stand there keep their logits.

    Raises:
      ConfigError: there is no saved teacher.
      DataError: there is no table, or it lacks a field.
    """
    fields = read_about(teacher)["task"]["fields"]
    parts = part_files(source)
    missing = set(fields) - set(pq.read_schema(parts[0]).names)
    if missing:
        raise DataError(f"{parts[0]}: there is no column {min(missing)!r}, which the teacher {teacher} reads")

    def rows_from(first: int) -> Iterator[pa.RecordBatch]:
        for part in parts:
            rows = pq.read_metadata(part).num_rows
            if first < rows:
                for batch in iter_part(part, fields):
                    yield batch.slice(first)
                    first = max(0, first - batch.num_rows)
            else:
                first -= rows

    label_rows(teacher, rows_from, count_rows(source), fields, out, config, progress, earlier)


def label_rows(
    teacher: Path,
    rows_from: RowsFrom,
    rows: int,
    fields: Sequence[str],
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
) -> None:
    """Writes a teacher's logits for a stream of rows; see `label_folder`.

    Args:
      teacher: a saved teacher's folder.
      rows_from: streams the rows from an index on; columns that are not in `fields` are passed through.
      rows: how many there are.
      fields: the text columns, in the order of the task's fields.
      out: where the shards go.
      config: shard and batch sizes.
      progress: whether to show a progress bar.
      earlier: see `label_folder`.
    """
    done = finished_shards(out)
    if done and done * config.rows_per_shard >= rows:
        return
    n_logits = Task.from_json(read_about(teacher)["task"]).n_logits
    made_by = fingerprint(teacher_identity(teacher), list(fields))
    known = KnownLogits(earlier, made_by, fields, n_logits)
    loaded = None
    first = done * config.rows_per_shard
    with tqdm(total=rows, initial=first, desc=f"labelling {out.name}", unit="row", disable=not progress) as bar:
        for index, table in enumerate(regroup(rows_from(first), config.rows_per_shard), done):
            columns = [table[name].to_pylist() for name in fields]
            known_rows, logits = known.look_up(columns)
            new = np.flatnonzero(~known_rows)
            if len(new):
                if loaded is None:
                    from tfb2d.teachers.teacher import load_teacher  # Keras: not before there is something to do

                    loaded = load_teacher(teacher)
                new_texts = [[column[row] for row in new] for column in columns]
                logits[new] = loaded.logits(new_texts, config.batch_tokens)
            write_shard(out, index, table, logits, made_by)
            bar.update(table.num_rows)
    if not rows:
        empty = pa.table({name: pa.array([], pa.string()) for name in fields})
        write_shard(out, 0, empty, np.empty((0, n_logits), np.float32), made_by)
