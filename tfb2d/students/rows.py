"""Hashed rows on disk: texts are tokenized and hashed once, and every epoch reads the hashes.

Token hashes are kept rather than n-gram ids: the n-grams are then made by the very layers that are served, and one cache
does for every bucket count and every n-gram order.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfb2d.data.errors import DataError
from tfb2d.data.files import read_json, sync, write_json
from tfb2d.students import text

BLOCK = 4096  # consecutive rows that are shuffled as one
GROUP = 64  # blocks whose rows are shuffled together: what one shuffle holds in memory


class HashedRows:
    """Rows as memory-mapped arrays: per field, token hashes `[tokens]` int64 and splits `[n + 1]` int64; targets `[n, k]`.

    Targets are probabilities, float32: one of a binary or graded task, one a class otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = read_json(folder / "rows.json")
        self.n = int(about["rows"])
        self.targets = self._map(folder / "targets.f32", np.float32).reshape(self.n, about["n_logits"])
        self.fields = [
            (self._map(folder / f"{i}.hashes.i64", np.int64), self._map(folder / f"{i}.splits.i64", np.int64))
            for i in range(about["fields"])
        ]

    @staticmethod
    def _map(path: Path, dtype: type) -> np.ndarray:
        # An empty file cannot be mapped.
        return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)

    def batch(self, index: np.ndarray) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        """The rows with these numbers: a ragged tensor of token hashes a field, and the targets."""
        ragged = []
        for values, splits in self.fields:
            starts = splits[index]
            lengths = splits[index + 1] - starts
            ends = np.concatenate([[0], np.cumsum(lengths)])
            flat = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
            ragged.append(tf.RaggedTensor.from_row_splits(values[flat], ends, validate=False))
        return ragged, tf.constant(self.targets[index])

    def discard(self) -> None:
        """Deletes the files; what says that they are whole goes first."""
        (self.folder / "rows.json").unlink()
        shutil.rmtree(self.folder)

    def batches(self, size: int, seed: Sequence[int] | None = None, skip: int = 0) -> Iterator[np.ndarray]:
        """Row numbers of an epoch's batches, `[size]` int64 (the last one shorter).

        With a seed the rows are shuffled in blocks, in memory bounded by `BLOCK * GROUP` row numbers; the order depends on
        the seed alone, so that `skip` batches on from the start is where a stopped run goes on.
        """
        blocks = np.arange(0, self.n, BLOCK)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))) if seed is not None else None
        if rng is not None:
            blocks = rng.permutation(blocks)
        rest = np.zeros(0, np.int64)
        done = 0
        for first in range(0, len(blocks), GROUP):
            rows = np.concatenate([np.arange(b, min(b + BLOCK, self.n)) for b in blocks[first : first + GROUP]])
            if rng is not None:
                rows = rng.permutation(rows)
            rest = np.concatenate([rest, rows])
            while len(rest) >= size or (first + GROUP >= len(blocks) and len(rest)):
                now, rest = rest[:size], rest[size:]
                done += 1
                if done > skip:
                    yield now


def hash_rows(
    source: Iterator[tuple[list[np.ndarray], np.ndarray]],
    out: Path,
    max_tokens: int,
    total: int | None = None,
    progress: bool = True,
    affixes: Sequence[int] = (),
) -> HashedRows:
    """Hashes rows into `out`, or finds them there from before.

    Args:
      source: batches of (texts, one object array [n] a field; targets `[n, k]` float32). Rows with a target that is not a
        number are left out: no teacher scored them.
      out: folder; `rows.json` is written last and says that the rest is whole.
      max_tokens: tokens kept of a text.
      total: rows expected, for the progress bar.
      affixes: as of `text_spec.token_hash`.

    Raises:
      DataError: no row was left.
    """
    if (out / "rows.json").exists():
        return HashedRows(out)
    hasher = tf.function(
        lambda texts: text.token_hashes(texts, max_tokens, affixes), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    out.mkdir(parents=True, exist_ok=True)
    n, n_logits = 0, 1
    columns: list[_Column] = []
    bar = tqdm(total=total, desc="hash", unit="row", unit_scale=True, disable=not progress, leave=False)
    with ExitStack() as stack:
        stack.enter_context(bar)
        target_file = stack.enter_context((out / "targets.f32").open("wb"))
        for texts, targets in source:
            bar.update(len(targets))
            n_logits = targets.shape[1]
            keep = np.isfinite(targets).all(1)
            n += int(keep.sum())
            target_file.write(np.ascontiguousarray(targets[keep], np.float32).tobytes())
            columns = columns or [_Column(out, i, stack) for i in range(len(texts))]
            for column, strings in zip(columns, texts, strict=True):
                column.write(hasher(tf.constant(strings[keep], tf.string)))
    if not n:
        raise DataError("there is no row to learn from: no transfer row has a teacher's logit or a label")
    for path in out.iterdir():
        sync(path)
    write_json(out / "rows.json", {"rows": n, "fields": len(columns), "n_logits": n_logits})
    return HashedRows(out)


class _Column:
    """Appends one field's hashes and splits."""

    def __init__(self, folder: Path, number: int, stack: ExitStack) -> None:
        self.hashes, self.splits = (
            stack.enter_context((folder / f"{number}.{part}.i64").open("wb")) for part in ("hashes", "splits")
        )
        self.splits.write(np.zeros(1, np.int64).tobytes())
        self.end = 0

    def write(self, ragged: tf.RaggedTensor) -> None:
        self.hashes.write(ragged.values.numpy().tobytes())
        self.splits.write((ragged.row_splits.numpy()[1:] + self.end).astype(np.int64).tobytes())
        self.end += int(ragged.row_splits[-1])
