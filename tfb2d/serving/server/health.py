"""grpc.health.v1, with the names that TensorFlow Serving's health service knows."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from tfb2d.serving.server.errors import Code, ServingError

_NAMES = ("", "PredictionService", "ModelService")
_WATCHERS = 64  # each holds a thread
_Response = health_pb2.HealthCheckResponse


class Health:
    """SERVING from the first request on until the server drains."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serving = True
        self._watchers = threading.Semaphore(_WATCHERS)

    def stop(self) -> None:
        """From now on NOT_SERVING: load balancers turn to other servers."""
        with self._changed:
            self._serving = False
            self._changed.notify_all()

    def _status(self, name: str) -> int:
        if name not in _NAMES:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if self._serving else _Response.NOT_SERVING

    def check(self, request: health_pb2.HealthCheckRequest, seconds: float | None) -> Any:
        """Health/Check.

        Raises:
          ServingError: NOT_FOUND for another name.
        """
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            raise ServingError(Code.NOT_FOUND, "service name unknown")
        return _Response(status=status)

    def watch(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Health/Watch: the status now, and once more when the server drains."""
        try:
            name = health_pb2.HealthCheckRequest.FromString(data).service
        except Exception:
            context.abort(grpc.StatusCode.INTERNAL, "")
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many health watchers")
        try:
            status = self._status(name)
            yield _Response(status=status).SerializeToString()
            while context.is_active():
                with self._changed:
                    self._changed.wait(1.0)
                now = self._status(name)
                if now != status:
                    status = now
                    yield _Response(status=status).SerializeToString()
                if not self._serving:
                    return
        finally:
            self._watchers.release()
