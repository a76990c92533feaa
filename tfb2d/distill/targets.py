"""From logits on disk to what the student learns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.config import DistillConfig
from tfb2d.data.tables import iter_batches, logit_names, read_table, regroup
from tfb2d.data.task import Task
from tfb2d.distill.stack import fit_stack, one_hot, probabilities
from tfb2d.outcomes import Stack


def stacked_logits(folders: Sequence[Path], task: Task, stack: Stack) -> np.ndarray:
    """Reads the teachers' logits of a table, a folder per teacher, and stacks them: float32 `[n, k]`."""
    return stack(np.stack([read_logits(folder, task) for folder in folders], 1))


def fit(config: DistillConfig, folders: Sequence[Path], task: Task, labels: np.ndarray | None) -> Stack:
    """Fits the stack on the teachers' validation logits, a folder per teacher; see `fit_stack`."""
    return fit_stack(config, np.stack([read_logits(folder, task) for folder in folders], 1), labels)


def soft_targets(
    data: Path, folders: Sequence[Path], task: Task, stack: Stack, config: DistillConfig, rows: int = 8192
) -> np.ndarray:
    """Computes what the student learns of each row of a table that has a `label`: float32 `[n, k]`.

    A row's target is the stacked teachers' probability at `config.temperature`. Of a labelled row, a share
    `config.hard_weight` of the target is the label. Cross-entropy is linear in the target, so this equals the weighted sum
    of the soft-label and the hard-label loss (Hinton et al. 2015, arXiv 1503.02531, section 2).

    There is a logits folder per teacher, row for row the same as the table. A row without a label that no teacher has
    scored has the target NaN.
    """
    names = logit_names(task.n_logits)
    sources = [regroup(iter_batches(data, ["label"], rows), rows)]
    sources += [regroup(iter_batches(folder, names, rows), rows) for folder in folders]
    targets = [np.zeros((0, task.n_logits), np.float32)]
    for batch, *scored in zip(*sources, strict=True):
        logits = stack(np.stack([_columns(table, names) for table in scored], 1))
        soft = probabilities(logits, config.temperature)
        targets.append(mixed(soft, _column(batch, "label"), config.hard_weight))
    return np.concatenate(targets)


def mixed(targets: np.ndarray, labels: np.ndarray, hard_weight: float) -> np.ndarray:
    """Mixes labels `[n]`, NaN where a row has none, into targets `[n, k]` float32.

    `hard_weight` is the label's share, from 0 to 1. A labelled row without a target gets its label.
    """
    if not hard_weight:
        return targets
    hard = one_hot(labels, targets.shape[1])
    soft = np.where(np.isfinite(targets), targets, hard)
    return np.where(np.isfinite(hard), (1 - hard_weight) * soft + hard_weight * hard, targets).astype(np.float32)


def hard_targets(data: Path, task: Task) -> np.ndarray:
    """Returns the labels of a table as targets `[n, k]` float32; rows without a label are NaN."""
    return one_hot(_column(read_table(data, ["label"]), "label"), task.n_logits)


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> np.ndarray:
    return batch.column(name).to_numpy(zero_copy_only=False).astype(np.float32)


def _columns(batch: pa.RecordBatch | pa.Table, names: Sequence[str]) -> np.ndarray:
    return np.stack([_column(batch, name) for name in names], 1)


def read_logits(folder: Path, task: Task) -> np.ndarray:
    """Reads a teacher's logits of a table into memory, float32 `[n, k]`."""
    names = logit_names(task.n_logits)
    return _columns(read_table(folder, names), names)
