"""Sends the answers of `fast_transport`: a call as grpcio's core has it, on its private classes."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, StatusError, cut_details, where
from tfb2d.serving.server.transport import Method

_log = logging.getLogger(__name__)
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
