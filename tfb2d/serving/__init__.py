"""Exports models, serves them as TensorFlow Serving does, and has the client for both servers.

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING

from tfb2d.imports import late

if TYPE_CHECKING:
    from tfb2d.serving.aio import AsyncClient as AsyncClient
    from tfb2d.serving.channel import TLS as TLS
    from tfb2d.serving.client import Client as Client
    from tfb2d.serving.client_settings import Backoff as Backoff
    from tfb2d.serving.errors import DeadlineExceeded as DeadlineExceeded
    from tfb2d.serving.errors import ServerUnreachable as ServerUnreachable
    from tfb2d.serving.errors import ServingError as ServingError
    from tfb2d.serving.request_log import RequestLog as RequestLog

_HOMES = {
    "AsyncClient": "aio",
    "Backoff": "client_settings",
    "Client": "client",
    "DeadlineExceeded": "errors",
    "RequestLog": "request_log",
    "ServerUnreachable": "errors",
    "ServingError": "errors",
    "TLS": "channel",
}
__all__ = sorted(_HOMES)

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = late(__name__, _HOMES)
