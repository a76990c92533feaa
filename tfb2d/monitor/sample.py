"""A uniform sample of a stream of any length; the same seed gives the same rows."""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """Samples `size` of the items offered, without replacement: those with the smallest random keys.

    It holds up to twice the sample in memory.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = np.random.Generator(np.random.Philox(seed))
        self._kept: list[tuple[float, int, Item]] = []
        self._worst = 2.0
        self._offered = 0

    def offer(self, count: int, make: Callable[[int], Item | None]) -> None:
        """Offers the stream's next items; `make` builds one of an index, where it is sampled. None leaves the item out."""
        keys = self._random.random(count)
        for index in np.flatnonzero(keys < self._worst):
            item = make(int(index))
            if item is not None:
                self._kept.append((float(keys[index]), self._offered + int(index), item))
            if len(self._kept) >= 2 * self._size:
                self._prune()
        self._offered += count

    def items(self) -> list[Item]:
        """Returns the sample, in the stream's order."""
        self._prune()
        return [item for _, _, item in sorted(self._kept, key=lambda entry: entry[1])]

    def _prune(self) -> None:
        if len(self._kept) > self._size:
            self._kept.sort(key=lambda entry: entry[0])
            del self._kept[self._size :]
            self._worst = self._kept[-1][0]
