"""Counts new n-grams and tokens of a log's rows, and finds the rows that are fit for training."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfb2d.data.rows import text_fault
from tfb2d.monitor.logs import Rows
from tfb2d.monitor.ngrams import Bloom, Grams
from tfb2d.students import text_spec

MAX_CHARS = 20_000  # rows with a longer text are unfit for training
COUNTED_TOKENS = 100_000  # held while counting


class Intake:
    """Counts new n-grams, new tokens and rows that are unfit for training (by reason) of a log.

    Args:
      known: the n-grams of the reference; None counts no n-gram as new.
      max_tokens: tokens of a text that have n-grams.
    """

    def __init__(self, known: Bloom | None, max_tokens: int) -> None:
        self._known, self._max_tokens = known, max_tokens
        self.tokens: Counter[bytes] = Counter()
        self.unusable: Counter[str] = Counter()

    def counted(self, rows: Rows, field: int, grams: dict[int, Grams]) -> dict[int, NDArray[np.int64]]:
        """Returns the numbers of n-grams and new n-grams of each row, order -> `[n, 2]`; counts the new tokens."""
        counted = {}
        for order, order_grams in grams.items():
            new = (
                np.zeros(len(order_grams.rows), np.bool_)
                if self._known is None
                else ~self._known.has(order_grams.hashes)
            )
            all_counts, new_counts = (
                np.bincount(which, minlength=len(rows)) for which in (order_grams.rows, order_grams.rows[new])
            )
            counted[order] = np.stack([all_counts, new_counts], 1)
            if order == 1 and new.any():
                self._count_tokens(rows.texts[field], order_grams.rows[new], order_grams.positions[new])
        return counted

    def _count_tokens(self, texts: Sequence[bytes], rows: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        last, tokens = -1, []
        for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
            if row != last:
                last, tokens = row, text_spec.tokens(texts[row], self._max_tokens)
            self.tokens[tokens[position]] += 1
        if len(self.tokens) > COUNTED_TOKENS:  # frequent tokens will occur again
            self.tokens = Counter(dict(self.tokens.most_common(COUNTED_TOKENS // 2)))

    def usable(self, rows: Rows) -> NDArray[np.bool_]:
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
