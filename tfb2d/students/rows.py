"""Hashed rows on disk (`hashing` writes them): all epochs and all readers use the same token hashes.

Rows hold token hashes, not n-gram ids. So the layers that are served make the n-grams, and the same rows serve every bucket
count and every n-gram order. They take 8 bytes a token and 8 bytes a row and field.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfb2d.atomic import read_json
from tfb2d.errors import DataError
from tfb2d.students.ngrams import take

BLOCK = 4096  # consecutive rows that stay together when blocks are shuffled
GROUP = 64  # blocks whose rows are then shuffled together; bounds memory
ABOUT = "rows.json"


class HashedRows:
    """Holds hashed rows as memory-mapped arrays.

    Args:
      folder: what `hash_table` or `hash_rows` wrote.

    Attributes:
      n: how many rows.
      fields: per field, token hashes `[tokens]` int64 and splits `[n + 1]` int64.
      max_tokens, affixes: that the texts were hashed with.
      settings: all that they were hashed with, as `hashing.row_settings` gives it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = read_json(folder / ABOUT)
        self.n = int(about.pop("rows"))
        self.fields = [
            tuple(_map(folder / f"{i}.{part}.i64") for part in ("hashes", "splits")) for i in range(about.pop("fields"))
        ]
        self.max_tokens, self.affixes, self.settings = int(about["max_tokens"]), tuple(about["affixes"]), about

    @property
    def index(self) -> np.ndarray:
        """Returns the indices of all rows, `[n]` int64."""
        return np.arange(self.n)

    def flat(self, index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the rows with these numbers: a field's token hashes `[tokens]` and splits `[len(index) + 1]`, int64."""
        return [take(values, splits, index) for values, splits in self.fields]


class TrainingRows:
    """Holds some or all hashed rows, with the targets that a student learns.

    Args:
      rows: the hashed rows.
      targets: `[len(index), k]` float32 probabilities: one of a binary or graded task, one a class otherwise.
      index: rising row numbers; None takes all rows.

    Attributes:
      n: how many rows.
    """

    def __init__(self, rows: HashedRows, targets: np.ndarray, index: np.ndarray | None = None) -> None:
        self.rows = rows
        self.index = rows.index if index is None else index
        self.n = len(self.index)
        self.targets = np.ascontiguousarray(targets, np.float32)
        if len(self.targets) != self.n:
            raise ValueError(f"{len(self.targets)} targets for {self.n} rows")

    @property
    def fields(self) -> list[tuple[np.ndarray, ...]]:
        """Returns the arrays of all hashed rows, to which `index` points."""
        return self.rows.fields

    def flat(self, index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the token hashes and splits of these rows; see `HashedRows.flat`."""
        return self.rows.flat(self.index[index])

    def batch(self, index: np.ndarray) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        """Returns these rows: a ragged tensor of token hashes a field, and the targets."""
        return [ragged(*field) for field in self.flat(index)], tf.constant(self.targets[index])

    def batches(self, size: int, seed: Sequence[int] | None = None, skip: int = 0) -> Iterator[np.ndarray]:
        """Yields the row numbers of an epoch's batches; see `epoch_batches`."""
        return epoch_batches(self.n, size, seed, skip)


def with_targets(rows: HashedRows, targets: np.ndarray, index: np.ndarray | None = None) -> TrainingRows:
    """Returns the rows that have a target; one that is not finite was scored by no teacher. Arguments as of TrainingRows.

    Raises:
      DataError: no row is left.
    """
    known = np.isfinite(targets).all(1)
    if not known.any():
        raise DataError("there is no row to learn from: no transfer row has a teacher's logit or a label")
    return TrainingRows(rows, targets[known], (rows.index if index is None else index)[known])


def ragged(hashes: np.ndarray, splits: np.ndarray) -> tf.RaggedTensor:
    """Returns token hashes as a ragged tensor `[rows, (tokens)]`."""
    return tf.RaggedTensor.from_row_splits(hashes, splits, validate=False)


def epoch_batches(n: int, size: int, seed: Sequence[int] | None = None, skip: int = 0) -> Iterator[np.ndarray]:
    """Yields the row numbers of an epoch's batches, `[size]` int64 (the last one shorter).

    With a seed the rows are shuffled in blocks, in memory bounded by `BLOCK * GROUP` row numbers. The order depends on
    the seed alone. So a stopped run goes on by skipping the `skip` batches that it has done.
    """
    blocks = np.arange(0, n, BLOCK)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))) if seed is not None else None
    if rng is not None:
        blocks = rng.permutation(blocks)
    waiting = np.zeros(0, np.int64)
    done = 0
    for first in range(0, len(blocks), GROUP):
        rows = np.concatenate([np.arange(b, min(b + BLOCK, n)) for b in blocks[first : first + GROUP]])
        if rng is not None:
            rows = rng.permutation(rows)
        waiting = np.concatenate([waiting, rows])
        while len(waiting) >= size or (first + GROUP >= len(blocks) and len(waiting)):
            batch, waiting = waiting[:size], waiting[size:]
            done += 1
            if done > skip:
                yield batch


def _map(path: Path) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(path, np.int64, "r") if path.stat().st_size else np.zeros(0, np.int64)
