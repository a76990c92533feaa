"""Takes in a log's rows: sums them by window, counts new tokens, and samples rows that are fit for training."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfb2d.data.rows import text_fault
from tfb2d.monitor.fresh import SampledRow
from tfb2d.monitor.logs import Rows
from tfb2d.monitor.ngrams import Bloom, Grams, Hasher
from tfb2d.monitor.sample import Reservoir
from tfb2d.monitor.windows import Windows
from tfb2d.students import text_spec

MAX_CHARS = 20_000  # rows with a longer text are unfit for training
COUNTED_TOKENS = 100_000  # held while counting


class Intake:
    """Takes in a log batch by batch: into `windows`, and into a `sample` of the rows that are fit for training.

    Attributes:
      tokens: how often each new token occurs; none is new where the n-grams of the reference are not known.
      unusable: rows that are unfit for training, by reason.
    """

    def __init__(self, hasher: Hasher, known: Bloom | None, windows: Windows, sample: Reservoir[SampledRow]) -> None:
        self.windows, self.sample = windows, sample
        self._hasher, self._known = hasher, known
        self.tokens: Counter[bytes] = Counter()
        self.unusable: Counter[str] = Counter()

    def add(self, rows: Rows) -> None:
        """Takes in rows, in the order of the log."""
        self.windows.add(rows, np.stack([self._counted(texts) for texts in rows.texts]))
        usable = self._usable(rows)

        def sampled(row: int) -> SampledRow | None:
            if not usable[row]:
                return None
            texts = tuple(column[row].decode() for column in rows.texts)
            about = (int(values[row]) for values in (rows.times, rows.requests, rows.versions))
            return SampledRow(texts, rows.scores[row], *about)

        self.sample.offer(len(rows), sampled)

    def _counted(self, texts: Sequence[bytes]) -> NDArray[np.int64]:
        """Returns the numbers of n-grams and new n-grams of texts, `[orders, n, 2]`; counts the new tokens."""
        counted = []
        for order, grams in self._hasher(texts).items():
            new = np.zeros(len(grams.rows), np.bool_) if self._known is None else ~self._known.has(grams.hashes)
            counted.append([np.bincount(rows, minlength=len(texts)) for rows in (grams.rows, grams.rows[new])])
            if order == 1 and new.any():
                self._count_tokens(texts, grams, new)
        return np.array(counted).swapaxes(1, 2)

    def _count_tokens(self, texts: Sequence[bytes], grams: Grams, new: NDArray[np.bool_]) -> None:
        last, tokens = -1, []
        for row, position in zip(grams.rows[new].tolist(), grams.positions[new].tolist(), strict=True):
            if row != last:
                last, tokens = row, text_spec.tokens(texts[row], self._hasher.max_tokens)
            self.tokens[tokens[position]] += 1
        if len(self.tokens) > COUNTED_TOKENS:  # frequent tokens will occur again
            self.tokens = Counter(dict(self.tokens.most_common(COUNTED_TOKENS // 2)))

    def _usable(self, rows: Rows) -> NDArray[np.bool_]:
        """Returns which rows are fit for training, `[n]`; counts the others by reason."""
        usable = np.zeros(len(rows), np.bool_)
        for row, texts in enumerate(zip(*rows.texts, strict=True)):
            read = [text.decode("utf-8", "surrogateescape") for text in texts]
            fault = next(filter(None, (text_fault(text, MAX_CHARS) for text in read)), "")
            fault = fault.partition(" data.")[0] or ("" if any(map(str.strip, read)) else "empty")
            usable[row] = not fault
            if fault:
                self.unusable[fault] += 1
        return usable
