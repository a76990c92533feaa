"""How many n-grams share a row of the hash table with another one, counted on the transfer rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.students import ngrams
from tfb2d.students.text_spec import SELDOM
from tfb2d.sweep.settings import Settings

if TYPE_CHECKING:
    from tfb2d.sweep.material import Material


class Collisions:
    """Counts the distinct n-grams of a run's transfer rows once an order, and then the rows that they share.

    Args:
      material: loaded.
    """

    def __init__(self, material: "Material") -> None:
        self.material = material
        self._distinct: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, settings: Settings) -> dict[str, Any]:
        """`{"ngrams", "shared", "shared_weighted"}`: distinct n-grams, the share of them that have a row with another, and

        the share of all occurrences that fall to such n-grams. All transfer rows count, however many a variant draws.
        With a vocabulary (the student's own, or the sweep's in place of hashing) those outside it share a row. Of a student
        with a window, tokens at the first place count.
        """
        orders = (1,) if settings.student.window else settings.student.orders
        for order in orders:
            if order not in self._distinct:
                self._distinct[order] = ngrams.distinct(self.material.rows["transfer"], order)
        found = [self._distinct[order] for order in orders]
        keys, counts = np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
        size = settings.vocabulary or settings.student.vocabulary
        if size:
            shared = np.ones(len(keys), np.bool_)
            shared[np.lexsort((keys, -counts))[:size]] = False
            if settings.student.vocabulary:
                shared |= counts < SELDOM
        else:
            rows = ngrams.rows_of(keys, settings.student.buckets)
            shared = np.bincount(rows, minlength=settings.student.buckets)[rows] > 1
        return {
            "ngrams": len(keys),
            "shared": float(shared.mean()),
            "shared_weighted": float(counts[shared].sum() / max(counts.sum(), 1)),
        }
