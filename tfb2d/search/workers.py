"""Runs work in threads, a bounded number at once, so that a web server's event loop never waits."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class FullError(Exception):
    """All threads work, and as many calls wait as may."""


class Workers:
    """A pool of threads, for which `waiting` calls may wait."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._most = threads + waiting
        self._taken = 0  # changed by the event loop alone

    @property
    def full(self) -> bool:
        """Returns whether a further call would be refused."""
        return self._taken >= self._most

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function in a thread; raises FullError at once where too many wait already."""
        if self.full:
            raise FullError
        self._taken += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        # Not when the request ends: one that its client gave up still holds its thread.
        future.add_done_callback(self._release)
        return await asyncio.shield(future)

    def _release(self, future: "asyncio.Future[T]") -> None:
        self._taken -= 1
        if not future.cancelled():
            future.exception()  # looked at here, since nobody else does where the client has gone

    def close(self) -> None:
        """Lets work that has begun end, and drops what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
