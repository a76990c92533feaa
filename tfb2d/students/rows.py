"""Hashed rows on disk: texts are tokenized and hashed once, and all epochs and all readers use the hashes.

Rows hold token hashes, not n-gram ids. So the layers that are served make the n-grams, and the same rows serve every bucket
count and every n-gram order. They take 8 bytes a token and 8 bytes a row and field.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfb2d.atomic import read_json, sync, write_json
from tfb2d.errors import DataError
from tfb2d.students import text
from tfb2d.students.ngrams import take

S = TypeVar("S")
T = TypeVar("T")
BLOCK = 4096  # consecutive rows that stay together when blocks are shuffled
GROUP = 64  # blocks whose rows are then shuffled together; bounds memory
ABOUT = "rows.json"
Hashed = list[tuple[np.ndarray, np.ndarray]]  # of a batch of texts: token hashes and splits, int64, for each field


class HashedRows:
    """Holds hashed rows as memory-mapped arrays.

    Args:
      folder: what `hash_texts` wrote.

    Attributes:
      n: how many rows.
      fields: per field, token hashes `[tokens]` int64 and splits `[n + 1]` int64.
      max_tokens, affixes: that the texts were hashed with, see `hash_texts`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = read_json(folder / ABOUT)
        self.n = int(about["rows"])
        self.max_tokens, self.affixes = int(about["max_tokens"]), tuple(about["affixes"])
        self.fields = [
            tuple(_map(folder / f"{i}.{part}.i64") for part in ("hashes", "splits")) for i in range(about["fields"])
        ]

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
    """Returns the rows that have a target. A row with a target that is not finite was scored by no teacher.

    Args:
      rows, index: see `TrainingRows`.
      targets: `[len(index), k]` float32.

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


def hash_texts(
    source: Iterable[Sequence[np.ndarray]],
    out: Path,
    max_tokens: int,
    total: int | None = None,
    progress: bool = True,
    affixes: Sequence[int] = (),
) -> HashedRows:
    """Hashes texts into a folder; what a stopped run left there is overwritten.

    Args:
      source: batches of texts, one object array `[n]` a field.
      out: folder; `rows.json` is written last.
      max_tokens: tokens kept of a text.
      total: rows expected, for the progress bar.
      progress: whether to show one.
      affixes: as of `text_spec.token_hash`.
    """
    bar = tqdm(total=total, desc=f"hash {out.name}", unit="row", unit_scale=True, disable=not progress, leave=False)
    with bar:
        return write_hashed(in_order(text_hasher(max_tokens, affixes), source), out, max_tokens, affixes, bar.update)


def text_hasher(max_tokens: int, affixes: Sequence[int] = ()) -> Callable[[Sequence[np.ndarray]], Hashed]:
    """Returns the function that hashes a batch of texts, one object array `[n]` a field; threads may share it."""
    hasher = tf.function(
        lambda texts: text.token_hashes(texts, max_tokens, affixes), input_signature=[tf.TensorSpec([None], tf.string)]
    )

    def hash_batch(texts: Sequence[np.ndarray]) -> Hashed:
        tokens = [hasher(tf.constant(strings, tf.string)) for strings in texts]
        return [(each.values.numpy(), each.row_splits.numpy()) for each in tokens]

    return hash_batch


def write_hashed(
    hashed: Iterable[Hashed],
    out: Path,
    max_tokens: int,
    affixes: Sequence[int],
    done: Callable[[int], object] = lambda _: None,
) -> HashedRows:
    """Writes batches of hashed texts into a folder; `rows.json` is written last.

    Args:
      hashed: a batch's token hashes `[tokens]` and splits `[n + 1]`, int64, for each field.
      out: the folder.
      max_tokens, affixes: that they were hashed with.
      done: called with the rows of a batch that is written.
    """
    out.mkdir(parents=True, exist_ok=True)
    n = 0
    columns: list[_Column] = []
    with ExitStack() as stack:
        for batch in hashed:
            columns = columns or [_Column(out, i, stack) for i in range(len(batch))]
            for column, (hashes, splits) in zip(columns, batch, strict=True):
                column.write(hashes, splits)
            rows = len(batch[0][1]) - 1
            n += rows
            done(rows)
    for path in out.glob("*.i64"):
        sync(path)
    about = {"rows": n, "fields": len(columns), "max_tokens": max_tokens, "affixes": list(affixes)}
    write_json(out / ABOUT, about)
    return HashedRows(out)


def hash_rows(
    source: Iterable[tuple[Sequence[np.ndarray], np.ndarray]],
    out: Path,
    max_tokens: int,
    total: int | None = None,
    progress: bool = True,
    affixes: Sequence[int] = (),
) -> TrainingRows:
    """Hashes texts that come with their targets, `[n, k]` float32 a batch; see `hash_texts` and `with_targets`."""
    targets: list[np.ndarray] = []

    def texts() -> Iterator[Sequence[np.ndarray]]:
        for columns, values in source:
            targets.append(values)
            yield columns

    rows = hash_texts(texts(), out, max_tokens, total, progress, affixes)
    return with_targets(rows, np.concatenate(targets) if targets else np.zeros((0, 1), np.float32))


def in_order(work: Callable[[S], T], items: Iterable[S], threads: int = 0) -> Iterator[T]:
    """Yields `work(item)` in the items' order, computed by threads: TensorFlow's string ops use one core.

    Args:
      work: the function.
      items: its arguments; a few are taken ahead.
      threads: how many; 0 takes one a core.
    """
    threads = threads or os.cpu_count() or 1
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:  # bounds memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _map(path: Path) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(path, np.int64, "r") if path.stat().st_size else np.zeros(0, np.int64)


class _Column:
    """Appends one field's hashes and splits."""

    def __init__(self, folder: Path, number: int, stack: ExitStack) -> None:
        self.hashes, self.splits = (
            stack.enter_context((folder / f"{number}.{part}.i64").open("wb")) for part in ("hashes", "splits")
        )
        self.splits.write(np.zeros(1, np.int64).tobytes())
        self.end = 0

    def write(self, hashes: np.ndarray, splits: np.ndarray) -> None:
        self.hashes.write(hashes.tobytes())
        self.splits.write((splits[1:] + self.end).astype(np.int64).tobytes())
        self.end += int(splits[-1])
