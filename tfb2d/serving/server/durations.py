"""Remembers how long answers take, so that `fast_transport` knows which requests are quick."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from tfb2d.serving.server.transport import Answer, Method

# Of processor time: an answer that is expected to take less is quick. Measured as the others of `fast_transport`: 0.1 ms:
# 0.63 and 0.62 of the rate; 10 ms: 1.0 and 1.01, but quick requests would wait longer for slow ones.
QUICK_SECONDS = 0.001
# Time by the clock over processor time, from which an answer counts as slow: it waits for something. On two cores that 26
# processes want, half of pure computing takes 4 times its processor time, and one in twenty 22 times.
BLOCKED = 16


class Times(NamedTuple):
    """Holds a moment by the clock and by this thread's processor time, in seconds."""

    clock: float
    computed: float

    @classmethod
    def now(cls) -> "Times":
        """Returns this moment."""
        return cls(time.monotonic(), time.thread_time())

    def seconds(self) -> float:
        """Returns the processor time since then; the clock's time where most of it was spent waiting."""
        clock, computed = time.monotonic() - self.clock, time.thread_time() - self.computed
        return clock if clock > max(2 * QUICK_SECONDS, BLOCKED * computed) else computed


class Durations:
    """Keeps the mean seconds of an answer, by method and by the magnitude of the message."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Answer, int], float] = {}

    def expected(self, method: Method, data: bytes) -> float:
        """Returns the seconds that an answer will take; infinite where that is not known yet."""
        return self._seconds.get((method.answer, len(data).bit_length()), float("inf"))

    def remember(self, method: Method, messages: Sequence[bytes], seconds: float) -> None:
        """Takes note of answers, which took `seconds` each; later ones weigh more."""
        for data in messages:
            kind = method.answer, len(data).bit_length()
            self._seconds[kind] = 0.8 * self._seconds.get(kind, seconds) + 0.2 * seconds
