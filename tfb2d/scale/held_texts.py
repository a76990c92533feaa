"""The texts that must not leak, in memory, and which rows leak them: the data stage's rule, and near texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.data.checked_rows import text_batches
from tfb2d.data.keys import both_keys
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.splits import HeldOut
from tfb2d.errors import DataError
from tfb2d.scale import near
from tfb2d.scale.prepare_config import PrepareConfig


class HeldTexts:
    """Knows the held-out texts of files.

    Raises DataError where too many rows cannot be used, or there are none: then leaks would stay unseen.
    """

    def __init__(self, files: Sequence[Path], config: PrepareConfig) -> None:
        self._exact = HeldOut()
        self._near = config.near
        words: dict[str, None] = {}  # each once, in order: the same words again would only crowd their band
        rejects = Rejects(None, config.max_rejected)
        rejects.begin()
        rows = 0
        for texts, group in _held_rows(files, config, rejects):
            rows += 1
            self._exact.add("test", [(texts, group)])
            if config.near:
                words[both_keys(texts)[1]] = None
        rejects.check(rows + rejects.count)
        if files and not rows:
            raise DataError(f"{', '.join(map(str, files))}: no held-out rows")
        if config.near:
            self._sets, exact = near.word_columns(words, len(config.fields))
            keys = near.band_keys(self._sets, exact, config.near)
            order = np.argsort(keys, axis=None, kind="stable")
            self._keys, self._rows = keys.ravel()[order], order // keys.shape[1]

    def leak(self, key: str, near_key: str, group: str) -> str:
        """Says how a row would leak a held-out one: see `HeldOut.leak`; "" if it would not."""
        return self._exact.leak_of(key, near_key, group)

    def are_near(self, sets: Sequence[pa.ListArray], keys: np.ndarray) -> np.ndarray:
        """Says which of n texts are near a held-out one, bool `[n]`; see `near.band_keys` for the arguments."""
        leaked = np.zeros(len(keys), bool)
        for band in keys.T:
            first, last = (np.searchsorted(self._keys, band, side) for side in ("left", "right"))
            count = np.where(leaked, 0, last - first)
            leaked |= near.any_near(sets, self._sets, self._rows, first, count, self._near)
        return leaked


def _held_rows(files: Sequence[Path], config: PrepareConfig, rejects: Rejects) -> Iterator[tuple[tuple[str, ...], str]]:
    """Streams texts and group of the held-out rows that can be used."""
    columns = [*config.fields, *[config.group] * bool(config.group)]
    reading = Reading(config.max_rejected, 2**31, config.quoting)  # no held-out text is too long
    for batch in text_batches(files, config.fields, columns[len(config.fields) :], reading, rejects):
        values = [batch.column(i).to_pylist() for i in range(len(columns))]
        for row in zip(*values, strict=True):
            yield row[: len(config.fields)], row[-1] if config.group else ""
