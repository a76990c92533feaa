"""Sums over the log by windows of time, which are joined into longer windows when there are many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfb2d.errors import DataError
from tfb2d.evaluation.scores import decisions
from tfb2d.monitor.drift import FINE, histogram
from tfb2d.monitor.logs import Rows
from tfb2d.probability import one_column

MINUTE, HOUR, DAY = 60, 3600, 86400
LENGTHS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY)
MOST = 2048  # windows held at once
SHOWN = 24
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


@dataclass
class Window:
    """Sums over the rows of a window of time."""

    NAMES = ("rows", "requests", "scored", "empty", "new_rows", "bytes")

    counts: NDArray[np.int64]  # `[6]`, see `NAMES`
    tokens: NDArray[np.int64]  # `[fields, orders]`, n-grams
    new: NDArray[np.int64]  # `[fields, orders]`, n-grams that the reference lacks
    scores: NDArray[np.int64]  # `[FINE]`, `drift.histogram` of the scores (multi-class: of the likeliest class's)
    classes: NDArray[np.int64]  # `[k]`, rows by decision

    @classmethod
    def none(cls, fields: int, orders: int, classes: int) -> "Window":
        """Returns a window without rows."""
        shapes = (len(cls.NAMES), (fields, orders), (fields, orders), FINE, classes)
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    def none_like(self) -> "Window":
        """Returns a window without rows, of the same shape."""
        return Window(*map(np.zeros_like, (self.counts, self.tokens, self.new, self.scores, self.classes)))

    def add(self, other: "Window") -> None:
        """Joins another window to this one."""
        for name in ("counts", "tokens", "new", "scores", "classes"):
            getattr(self, name).__iadd__(getattr(other, name))

    def __getitem__(self, name: str) -> int:
        return int(self.counts[self.NAMES.index(name)])


def seconds_of(length: str) -> int:
    """Returns the seconds of "15m", "6h", "1d" or "1w"; 0 of ""; raises DataError for anything else."""
    if not length:
        return 0
    number, unit = length[:-1], length[-1]
    if unit not in _UNITS or not number.isdecimal() or not int(number):
        raise DataError(f"--window={length}: it takes a number and m, h, d or w, such as 15m, 6h or 1d")
    return int(number) * _UNITS[unit]


class Windows:
    """Collects windows of equal length, which begin at multiples of it since 1970-01-01 UTC, a Thursday.

    `length` 0 chooses the shortest of LENGTHS, in seconds, with SHOWN windows or fewer. `shape` is fields, orders, classes.
    """

    def __init__(self, length: int, shape: tuple[int, int, int]) -> None:
        self.length = length or LENGTHS[0]
        self._fixed = bool(length)
        self._shape = shape
        self.windows: dict[int, Window] = {}

    def add(self, rows: Rows, counts: NDArray[np.int64]) -> None:
        """Adds rows, in the order of the log; counts are `[fields, orders, n, 2]`: n-grams, and those that are new."""
        keys = rows.times // self.length
        first = np.append(True, np.diff(rows.requests) != 0)
        lengths = np.array([[len(text) for text in column] for column in rows.texts], np.int64)
        blank = np.array([[not text.strip() for text in column] for column in rows.texts]).all(0)
        scored = np.isfinite(rows.scores).all(1)
        new_rows = (counts[..., 1] > 0).any((0, 1))
        sums = np.stack([np.ones(len(rows)), first, scored, blank, new_rows, lengths.sum(0)]).astype(np.int64)
        for key in np.unique(keys):
            here = keys == key
            window = Window.none(*self._shape)
            window.counts += sums[:, here].sum(1)
            window.tokens[:], window.new[:] = np.moveaxis(counts[:, :, here].sum(2), -1, 0)
            scores = rows.scores[here & scored]
            window.scores += histogram(scores.max(1))
            window.classes += np.bincount(decisions(one_column(scores)), minlength=self._shape[2])
            self._window(int(key)).add(window)
        if len(self.windows) > MOST:
            if self._fixed:
                raise DataError(
                    f"the log has more than {MOST:,} windows of {self.length:,} s; --window takes longer ones"
                )
            self._join(MOST)

    def finish(self) -> list[tuple[int, Window]]:
        """Returns the windows that have rows, by their start in seconds, in order."""
        if not self._fixed:
            self._join(SHOWN)
        return [(key * self.length, self.windows[key]) for key in sorted(self.windows)]

    def _window(self, key: int) -> Window:
        if key not in self.windows:
            self.windows[key] = Window.none(*self._shape)
        return self.windows[key]

    def _join(self, most: int) -> None:
        """Lengthens the windows until there are at most `most` from the first to the last."""
        while self.windows and max(self.windows) - min(self.windows) >= most:
            longer = [length for length in LENGTHS if length > self.length]
            if not longer:
                return
            old, self.windows = self.windows, {}
            before, self.length = self.length, longer[0]
            for key, window in old.items():
                self._window(key * before // self.length).add(window)
