"""Sends requests at a fixed arrival rate, so that a stall of the server counts for every request that it delayed.

A closed loop (send, wait, send again) slows down with the server and then reports the few requests that it did send:
coordinated omission (Tene, "How NOT to Measure Latency", 2015). Here the times of requests are drawn beforehand, as a
Poisson process. A request's latency counts from the time when it was due, not from when it was sent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """The outcome of a load."""

    seconds: np.ndarray  # float64 [n], latencies of the requests that were answered
    errors: dict[str, int]  # how often the others went wrong, by gRPC's code or the error's message
    rate: float  # answers a second

    def quantile(self, q: float) -> float:
        """Returns a latency quantile in milliseconds; infinite where nothing was answered."""
        return float(np.quantile(self.seconds, q)) * 1e3 if len(self.seconds) else float("inf")


async def open_loop(ask: Callable[[int], Awaitable[object]], rate: float, seconds: float, seed: int = 0) -> Load:
    """Sends `rate` requests a second for `seconds`, at times drawn from `seed`, whether answers come or not.

    `ask` sends request number i. At the end all answers are awaited.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=max(1, round(rate * seconds)))
    latencies: list[float] = []
    errors: dict[str, int] = {}
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()

    async def send_when_due(number: int, due: float) -> None:
        try:
            await ask(number)
            latencies.append(time.perf_counter() - due)
        except Exception as error:
            reason = _reason(error)
            errors[reason] = errors.get(reason, 0) + 1

    def send(number: int, due: float) -> None:
        tasks.append(loop.create_task(send_when_due(number, due)))

    def arrive() -> None:  # a thread's sleep ends on time; an event loop's timers are a millisecond coarse
        for number, due in enumerate(began + np.cumsum(gaps)):
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            loop.call_soon_threadsafe(send, number, due)

    await loop.run_in_executor(None, arrive)
    await asyncio.sleep(0)  # lets the last request start
    await asyncio.gather(*tasks)
    return Load(np.array(latencies), errors, len(latencies) / (time.perf_counter() - began))


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None)
    return code().name if callable(code) else f"{type(error).__name__}: {error}"[:200]


async def closed_loop(ask: Callable[[int], Awaitable[object]], clients: int, seconds: float) -> Load:
    """Measures capacity: `clients` that each send the next request when the last is answered."""
    latencies: list[float] = []
    began = time.perf_counter()

    async def keep_sending(first: int) -> None:
        number = first
        while (sent := time.perf_counter()) - began < seconds:
            await ask(number)
            latencies.append(time.perf_counter() - sent)
            number += clients

    await asyncio.gather(*(keep_sending(client) for client in range(clients)))
    return Load(np.array(latencies), {}, len(latencies) / (time.perf_counter() - began))
