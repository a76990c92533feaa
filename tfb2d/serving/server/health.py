"""Answers grpc.health.v1, for the names that TensorFlow Serving's health service knows.

The transports call it as they call `api`; `run` ends it first when the server drains.
"""

import contextlib
import threading
from typing import Any

from grpc_health.v1 import health_pb2

from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.transport import Stream

_NAMES = ("", "PredictionService", "ModelService")
_Response = health_pb2.HealthCheckResponse


class Health:
    """Says SERVING from the first request on until the server drains."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving = True
        self._watchers: set[Stream] = set()

    def _status(self, name: str) -> int:
        if name not in _NAMES:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if self._serving else _Response.NOT_SERVING

    def check(self, request: health_pb2.HealthCheckRequest, seconds: float | None) -> Any:
        """Answers Health/Check."""
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            raise StatusError(Code.NOT_FOUND, "service name unknown")
        return _Response(status=status)

    def first(self, request: health_pb2.HealthCheckRequest, seconds: float | None) -> Any:
        """Answers Health/Watch with the status now; `stop` sends the last one, when the server drains."""
        return _Response(status=self._status(request.service))

    def watch(self, stream: Stream) -> None:
        """Keeps a Watch call open; ends one that comes when the server drains already."""
        with self._lock:
            if self._serving:
                self._watchers.add(stream)
                return
        _end(stream)

    def forget(self, stream: Stream) -> None:
        """Drops a Watch call whose client has left."""
        with self._lock:
            self._watchers.discard(stream)

    def stop(self) -> None:
        """Says NOT_SERVING from now on, so that load balancers turn to other servers, and ends the Watch calls."""
        with self._lock:
            self._serving = False
            watchers, self._watchers = self._watchers, set()
        for stream in watchers:
            _end(stream)


def _end(stream: Stream) -> None:
    with contextlib.suppress(Exception):  # the client left in this very moment
        stream.end(_Response(status=_Response.NOT_SERVING).SerializeToString())
