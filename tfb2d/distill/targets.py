"""From logits on disk to what the student learns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.config import DistillConfig
from tfb2d.data.examples import Task
from tfb2d.data.tables import iter_batches, logit_names
from tfb2d.distill.stack import Stack, fit_stack, one_hot, probabilities


def stacked_logits(folders: Sequence[Path], task: Task, stack: Stack) -> np.ndarray:
    """Stacked logits `[n, k]` float32 of tables (one folder a teacher, the same rows) that fit into memory."""
    return stack(np.stack([read_logits(folder, task) for folder in folders], 1))


def fit(config: DistillConfig, folders: Sequence[Path], task: Task, labels: np.ndarray | None) -> Stack:
    """Fits the stack on the validation tables of the teachers, `folders`; see `fit_stack`."""
    return fit_stack(config, np.stack([read_logits(folder, task) for folder in folders], 1), labels)


def soft_targets(
    data: Path, folders: Sequence[Path], task: Task, stack: Stack, config: DistillConfig, rows: int = 8192
) -> np.ndarray:
    """Returns the targets `[n, k]` float32 of a table, row for row; NaN where no teacher has scored a row.

    A row's target is the stacked teachers' probability at `config.temperature`; where the row has a label, a share
    `config.hard_weight` of it is the label instead. Cross-entropy is linear in the target, so this equals the weighted sum
    of the soft-label and the hard-label loss (Hinton et al. 2015, section 2).

    Args:
      data: table folder with `label`.
      folders: one logits folder a teacher, row for row the same as `data`.
      rows: read at a time.
    """
    names = logit_names(task.n_logits)
    sources = [_even(iter_batches(data, ["label"], rows), rows)]
    sources += [_even(iter_batches(folder, names, rows), rows) for folder in folders]
    targets = [np.zeros((0, task.n_logits), np.float32)]
    for batch, *scored in zip(*sources, strict=True):
        logits = stack(np.stack([_columns(table, names) for table in scored], 1))
        soft = probabilities(logits, config.temperature)
        targets.append(mixed(soft, _column(batch, "label"), config.hard_weight))
    return np.concatenate(targets)


def mixed(targets: np.ndarray, labels: np.ndarray, hard_weight: float) -> np.ndarray:
    """Targets `[n, k]` with a share `hard_weight` of the label where there is one; `labels` are `[n]`, NaN: none."""
    if not hard_weight:
        return targets
    hard = one_hot(labels, targets.shape[1])
    soft = np.where(np.isfinite(targets), targets, hard)  # a labelled row that no teacher scored has its label
    return np.where(np.isfinite(hard), (1 - hard_weight) * soft + hard_weight * hard, targets).astype(np.float32)


def hard_targets(data: Path, task: Task, rows: int = 8192) -> np.ndarray:
    """Returns the labels of a table as targets `[n, k]` float32; rows without a label are NaN."""
    targets = [np.zeros((0, task.n_logits), np.float32)]
    targets += [one_hot(_column(batch, "label"), task.n_logits) for batch in iter_batches(data, ["label"], rows)]
    return np.concatenate(targets)


def texts(batch: pa.RecordBatch | pa.Table, task: Task) -> list[np.ndarray]:
    """The text fields as object arrays."""
    return [batch.column(name).to_numpy(zero_copy_only=False) for name in task.fields]


def _column(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return batch.column(name).to_numpy(zero_copy_only=False).astype(np.float32)


def _columns(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    return np.stack([_column(batch, name) for name in names], 1)


def read_logits(folder: Path, task: Task) -> np.ndarray:
    """One teacher's logits `[n, k]` float32 of a table that fits into memory."""
    names = logit_names(task.n_logits)
    return np.concatenate([_columns(batch, names) for batch in iter_batches(folder, names)])


def _even(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Cuts a stream anew into tables of `rows` rows, so that tables with other part sizes can be read side by side."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows)
            waiting, count = table.slice(rows).to_batches(), count - rows
    if count:
        yield pa.Table.from_batches(waiting)
