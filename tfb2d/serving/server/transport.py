"""Says what a gRPC transport serves, and what it must be able to do.

There are two: `aio_transport`, on grpcio's public asyncio server, which always works, and `fast_transport`, which is faster
and needs grpcio's private classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import grpc

from tfb2d.serving.server.errors import Code, StatusError

Answer = Callable[[bytes, float | None], bytes]  # message, seconds left (None: no deadline) -> message; StatusError
AnswerTogether = Callable[[Sequence[tuple[bytes, float | None]]], list[bytes | StatusError]]  # the same of several

EXHAUSTED = StatusError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
# A request above --grpc_max_threads waits so long for its turn. Of requests of 2 ms, 32 in flight and 8 allowed, 52% were
# refused at 1 ms, 44% at 10 ms, 13% at 50 ms and none at 200 ms, where a lasting overload would be refused late.
WAIT_SECONDS = 0.05


class Stream(Protocol):
    """Is a call that is kept open after its first answer."""

    def end(self, data: bytes) -> None:
        """Sends a last message and the status OK; from any thread."""


class Method(NamedTuple):
    """Says how a path is answered."""

    answer: Answer  # of a stream, the first one
    bounded: bool = True  # whether it counts as a request in work
    background: bool = False  # whether it may take long, so that it gets a thread of its own
    stream: Callable[[Stream], None] | None = None  # is handed the call, to end it later
    together: AnswerTogether | None = None  # answers several requests in less time than one after the other

    def result(self, data: bytes, seconds: float | None) -> bytes | StatusError:
        """Returns the answer, or the error that stands for it."""
        try:
            return self.answer(data, seconds)
        except StatusError as error:
            return in_grpc_words(error)


def in_grpc_words(error: StatusError) -> StatusError:
    """Returns the error as clients see it: of a deadline they may hear from gRPC first, or from here."""
    if error.code == Code.DEADLINE_EXCEEDED:
        return StatusError(error.code, "Deadline Exceeded")
    return error


class Setup(NamedTuple):
    """Says what a transport serves, and how much at once."""

    methods: Mapping[str, Method]  # by path; other paths are UNIMPLEMENTED
    in_work: int  # requests that are answered or in line for it; one more waits a moment, then is RESOURCE_EXHAUSTED
    workers: int  # threads that answer them
    settings: Sequence[tuple[str, Any]] = ()  # gRPC channel arguments
    on_closed: Callable[[Stream], None] = lambda stream: None  # is called with a stream whose client has left


class Transport(Protocol):
    """Listens from `start` to `stop`."""

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> bool:
        """Takes an address ("host:port", "unix:path"); returns whether it was free."""

    def start(self) -> None:
        """Starts listening."""

    def stop(self, grace: float) -> None:
        """Takes no new call, waits for those there are, cancels them after `grace` seconds."""
