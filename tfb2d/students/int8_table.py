"""Row-wise int8 tables: a float32 scale a row, and an optional map from buckets to the rows that are kept.

This module needs NumPy alone, so that a table can be read without TensorFlow. `tfb2d/students/packed.py` reads one in the
graph.
"""

from dataclasses import dataclass

import numpy as np

LIMIT = 127  # -128 is left out, so that a row and its negative have the same scale
_CHUNK = 1 << 16  # rows that are rounded at once: bounds memory


@dataclass(frozen=True)
class CompressedTable:
    """An embedding table as it is stored.

    The vector of n-gram id i is `values[r] * scale[r]`, where r is `remap[i]`, or i itself without a remap.
    """

    values: np.ndarray  # `[rows, dim]` int8, from -127 to 127
    scale: np.ndarray  # `[rows]` float32, 0 or more
    remap: np.ndarray | None = None  # `[buckets]` int32, the row of each bucket; None where every bucket has its own

    @property
    def buckets(self) -> int:
        """Returns how many ids there are."""
        return len(self.values if self.remap is None else self.remap)

    @property
    def nbytes(self) -> int:
        """Returns the bytes that the table takes in a file and in memory."""
        return self.values.nbytes + self.scale.nbytes + (0 if self.remap is None else self.remap.nbytes)

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """Returns the rows, float32 `[..., dim]`, of int ids of any shape."""
        rows = ids if self.remap is None else self.remap[ids]
        return self.values[rows] * self.scale[rows][..., None]


def quantise(table: np.ndarray, remap: np.ndarray | None = None) -> CompressedTable:
    """Rounds each row of `[rows, dim]` float32 to 255 even steps of `scale`; the error is at most half a step.

    `remap` is kept with the table. Raises ValueError where a weight is not a finite number.
    """
    largest = np.abs(table).max(1) if table.size else np.zeros(len(table), np.float32)
    if not np.isfinite(largest).all():
        raise ValueError(
            f"row {int(np.flatnonzero(~np.isfinite(largest))[0])} of the table has a weight that is no number"
        )
    scale = (largest / LIMIT).astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = 0  # zero rows, and rows of numbers that CPUs flush to zero
    values = np.zeros(table.shape, np.int8)
    for start in range(0, len(table), _CHUNK):
        part = slice(start, start + _CHUNK)
        step = np.where(scale[part] > 0, scale[part], np.inf).astype(np.float32)
        values[part] = np.clip(np.rint(table[part] / step[:, None]), -LIMIT, LIMIT)
    return CompressedTable(values, scale, remap)
