"""Labels the rows of which other teachers are least sure, so that a slow teacher spends its time where it changes most."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import LabelConfig
from tfb2d.data.tables import ShardWriter, count_rows, iter_batches, logit_names, part_files, regroup
from tfb2d.data.task import Task
from tfb2d.distill.targets import stacked_logits
from tfb2d.outcomes import Stack
from tfb2d.runs import beside
from tfb2d.teachers.label import label_folder
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.shards import write_shard

DOUBTFUL = "doubtful"  # folder of the labelled rows alone, beside the parts that have a row for each of the source's


def label_doubtful(
    teacher: Path,
    source: Path,
    before: Sequence[Path],
    share: float,
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
    max_without: float = 0.01,
) -> tuple[int, int]:
    """Writes a teacher's logits of the most doubtful rows of a table, and NaN for the others, row for row.

    It can be killed and continues as `label_folder` does, whose arguments and errors it shares. `before` are the tables
    of other teachers' logits of the same rows, whose mean says how sure they are. `share` of the rows, between 0 and 1,
    are labelled.

    Returns how many rows have a logit, and for how many of those that were labelled the teacher gave no finite number.
    """
    task = Task.from_json(read_about(teacher)["task"])
    logits = stacked_logits(before, task, Stack((1 / len(before),) * len(before), (0.0,) * task.n_logits))
    doubtful = least_sure(logits, share)

    labelled, start = out / DOUBTFUL, 0
    rows = beside(labelled, "rows")
    with ShardWriter(rows, pa.schema([(name, pa.string()) for name in task.fields])) as writer:
        for batch in iter_batches(source, task.fields):
            inside = doubtful[(doubtful >= start) & (doubtful < start + batch.num_rows)] - start
            writer.write(batch.take(pa.array(inside)))
            start += batch.num_rows
    without = label_folder(teacher, rows, labelled, config, progress, earlier, max_without)
    shutil.rmtree(rows)
    _spread(source, labelled, doubtful, task, out, config.rows_per_shard)
    return len(doubtful) - without, without


def least_sure(logits: np.ndarray, share: float) -> np.ndarray:
    """Returns the indices, rising, of the share of rows that are nearest to another decision: `[max(1, share * n)]` int64.

    A row of logits `[n, k]` with NaN is the most doubtful.
    """
    best = np.sort(logits, axis=1)
    margins = np.abs(logits[:, 0]) if logits.shape[1] == 1 else best[:, -1] - best[:, -2]
    order = np.argsort(np.where(np.isnan(margins), -1, margins), kind="stable")
    return np.sort(order[: max(1, round(share * len(order)))])


def _spread(source: Path, labelled: Path, indices: np.ndarray, task: Task, out: Path, rows: int) -> None:
    """Writes a row for each of the source's: the labelled ones' logits, NaN for the others."""
    names = logit_names(task.n_logits)
    tables = [pq.read_table(part, columns=names) for part in part_files(labelled)]
    logits = np.full((count_rows(source), task.n_logits), np.nan, np.float32)
    logits[indices] = np.stack([np.concatenate([table[name].to_numpy() for table in tables]) for name in names], 1)
    for shard, table in enumerate(regroup(iter_batches(source, task.fields), rows)):
        # Without the teacher's digest: a NaN here is no answer that a later labelling could take over.
        write_shard(out, shard, table, logits[shard * rows : shard * rows + table.num_rows])
