"""Pauses between the attempts of a call: growing exponentially, drawn at random, never past the deadline.

Scoring changes nothing on the server, so a request that may or may not have run can be sent again. Full jitter
draws the whole pause at random, so that the clients of a restarted server do not all return at once.

Reference: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts: the n-th is drawn from [0, min(maximum, initial * 2^n)] seconds."""

    initial: float = 0.05
    maximum: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.maximum:
            raise ValueError(f"backoff {self.initial}..{self.maximum} s: it takes 0 < initial <= maximum")

    def bound(self, attempt: int) -> float:
        """Returns the longest pause after failed attempt number `attempt` (from 0), in seconds."""
        return min(self.maximum, self.initial * 2.0 ** min(attempt, 60))

    def pause(self, attempt: int, remaining: float) -> float:
        """Returns a pause drawn at random, shorter than `remaining`, the seconds left to the deadline."""
        return random.uniform(0, min(self.bound(attempt), max(remaining, 0.0)))
