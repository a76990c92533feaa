"""Hash collisions: how many n-grams of the transfer rows share a table row with another n-gram."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.students import ngrams, text_spec
from tfb2d.sweep.settings import Settings

if TYPE_CHECKING:
    from tfb2d.sweep.run_data import RunData


class Collisions:
    """Counts the n-grams that share a row of the table; a run's distinct n-grams are looked for once for each order."""

    def __init__(self, run_data: "RunData") -> None:
        self.run_data = run_data
        self._distinct: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def count(self, settings: Settings) -> dict[str, Any]:
        """Counts distinct n-grams, the share that shares a row with another, and the same weighted by occurrences.

        All transfer rows count, however many of them a variant draws. N-grams outside a vocabulary share one row. A student
        with a window composes its n-grams from token rows, so its single tokens are counted.
        """
        orders = (1,) if settings.student.window else settings.student.orders
        for order in orders:
            if order not in self._distinct:
                self._distinct[order] = ngrams.distinct(self.run_data.rows["transfer"], order)
        distinct = [self._distinct[order] for order in orders]
        keys, counts = np.concatenate([part[0] for part in distinct]), np.concatenate([part[1] for part in distinct])
        size = settings.vocabulary or settings.student.vocabulary
        if size:
            shared = np.ones(len(keys), np.bool_)
            shared[np.lexsort((keys, -counts))[:size]] = False
            if settings.student.vocabulary:
                shared |= counts < text_spec.MIN_COUNT
        else:
            rows = text_spec.rows_of(keys, settings.student.buckets)
            shared = np.bincount(rows, minlength=settings.student.buckets)[rows] > 1
        return {
            "ngrams": len(keys),
            "shared": float(shared.mean()),
            "shared_weighted": float(counts[shared].sum() / max(counts.sum(), 1)),
        }
