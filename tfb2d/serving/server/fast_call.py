"""Holds `fast_transport`'s calls: how they are answered, by grpcio's private classes, and how long that takes."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, StatusError, cut_details, where
from tfb2d.serving.server.transport import Answer, Method

_log = logging.getLogger(__name__)
# Of processor time: an answer that is expected to take less is quick. Measured as those of `fast_transport`: 0.1 ms:
# 0.63 and 0.62 of the rate; 10 ms: 1.0 and 1.01, but quick requests would wait longer for slow ones.
QUICK_SECONDS = 0.001
# Time by the clock over processor time, from which an answer counts as slow: it waits for something. On two cores that 26
# processes want, half of pure computing takes 4 times its processor time, and one in twenty 22 times.
BLOCKED = 16
_NO_DEADLINE = 1e7  # seconds; gRPC gives a request without one some centuries
_METADATA = cygrpc.SendInitialMetadataOperation((), 0)
DONE = object()  # tags the event that something was sent


class Call(NamedTuple):
    """Is a call whose message is awaited, or that is kept open."""

    core: Any
    method: Method | None
    deadline: float  # seconds since 1970

    def left(self, now: float) -> float | None:
        """Returns the seconds left; None where there is no deadline."""
        left = self.deadline - now
        return left if left < _NO_DEADLINE else None

    def begin(self, data: bytes) -> None:
        """Sends a stream's first message."""
        self._start(_METADATA, cygrpc.SendMessageOperation(data, 0))

    def end(self, data: bytes) -> None:
        """Sends a stream's last message and the status OK."""
        self._start(cygrpc.SendMessageOperation(data, 0), _OK)

    def finish(self, answer: bytes | StatusError) -> None:
        """Sends the answer to a call that is no stream."""
        if isinstance(answer, StatusError):
            parts: tuple = (_status(answer.code, answer.message),)
        else:
            parts = cygrpc.SendMessageOperation(answer, 0), _OK
        self._start(_METADATA, *parts, cygrpc.ReceiveCloseOnServerOperation(0))

    def _start(self, *operations: Any) -> None:
        self.core.start_server_batch(operations, DONE)


def _status(code: Code, details: str) -> Any:
    return cygrpc.SendStatusFromServerOperation((), int(code), cut_details(details).encode(), 0)


_OK = _status(Code.OK, "")


def send(ready: Iterable[tuple[Call, bytes | StatusError]]) -> None:
    """Sends the answers to calls that are no streams."""
    for call, answer in ready:
        try:
            call.finish(answer)
        except Exception as error:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(error))


def stopwatch() -> Callable[[], float]:
    """Starts now. What it returns gives the seconds since then of this thread's processor time.

    Where most of them were spent waiting, it gives those by the clock.
    """
    began, before = time.monotonic(), time.thread_time()

    def seconds() -> float:
        clock, computed = time.monotonic() - began, time.thread_time() - before
        return clock if clock > max(2 * QUICK_SECONDS, BLOCKED * computed) else computed

    return seconds


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
