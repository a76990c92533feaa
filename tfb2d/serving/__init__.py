"""Exports models, serves them as TensorFlow Serving does, and has the client for both servers.

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING, Any

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
__all__ = [
    "TLS",
    "AsyncClient",
    "Backoff",
    "Client",
    "DeadlineExceeded",
    "RequestLog",
    "ServerUnreachable",
    "ServingError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
