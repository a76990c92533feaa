"""A call on grpcio's core: how its path is answered, its message, and what is sent back."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, ServingError, cut_details

_NO_DEADLINE = 1e7  # seconds; gRPC gives a request without one some centuries

Answer = Callable[[bytes, float | None], bytes]  # message, seconds left (None: no deadline) -> message; ServingError
AnswerTogether = Callable[[Sequence[tuple[bytes, float | None]]], list[bytes | ServingError]]  # the same of several
DONE = object()  # what the queue says of a batch of operations after which there is nothing to do


class Method(NamedTuple):
    """How a path is answered."""

    answer: Answer
    bounded: bool = True  # counts as a request in work
    background: bool = False  # may block for long: gets a thread of its own
    stream: Callable[["Call"], None] | None = None  # keeps the call open after the first answer
    together: AnswerTogether | None = None  # answers several quick ones in less time than one after the other

    def one(self, data: bytes, seconds: float | None) -> bytes | ServingError:
        """An answer, or the error that stands for it."""
        try:
            return self.answer(data, seconds)
        except ServingError as error:
            return error


class Call(NamedTuple):
    """A call whose message is awaited, or that is kept open."""

    core: Any
    method: Method | None
    deadline: float  # seconds since 1970

    def send(self, data: bytes) -> None:
        """Sends a message of a stream; the first one."""
        first = (cygrpc.SendInitialMetadataOperation((), 0), cygrpc.SendMessageOperation(data, 0))
        self._start(first)

    def end(self, data: bytes) -> None:
        """Sends a stream's last message and the status OK."""
        self._start((cygrpc.SendMessageOperation(data, 0), _status(Code.OK, "")))

    def left(self, now: float) -> float | None:
        """Seconds left; None where there is no deadline."""
        left = self.deadline - now
        return left if left < _NO_DEADLINE else None

    def finish(self, answer: bytes | ServingError) -> None:
        """Sends the answer to a call that is no stream."""
        if isinstance(answer, ServingError):
            told: tuple = (_status(answer.code, answer.message),)
        else:
            told = cygrpc.SendMessageOperation(answer, 0), _OK
        self._start((_METADATA, *told, cygrpc.ReceiveCloseOnServerOperation(0)))

    def _start(self, operations: tuple) -> None:
        self.core.start_server_batch(operations, DONE)


def _status(code: Code, details: str) -> Any:
    return cygrpc.SendStatusFromServerOperation((), int(code), cut_details(details).encode(), 0)


_METADATA = cygrpc.SendInitialMetadataOperation((), 0)
_OK = _status(Code.OK, "")
