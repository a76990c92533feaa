"""Takes HTTP requests: uvicorn reads and writes, worker threads answer. `rest` says what the answer is."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tfb2d.serving.server.json_body import error_body
from tfb2d.serving.server.options import FlagError, Options

_BODY_SECONDS = 60.0  # a body may take so long, and a second more for each MiB that it announces
_WAITING = 1000  # requests that may wait for a thread


class HttpServer:
    """Listens from `start` to `stop`, in a thread of its own.

    `handle` answers a request and its body, in a worker thread; it must not raise.
    """

    def __init__(self, options: Options, handle: Callable[[Request, bytes], Response]) -> None:
        self._handle = handle
        threads = max(1, options.rest_api_num_threads)
        self._pool = ThreadPoolExecutor(threads, "rest")
        self._free = threads + _WAITING
        self._max_body = options.max_request_bytes
        self._address = (options.host, options.rest_api_port)
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(options.drain_seconds)),
        )
        self._server = uvicorn.Server(config)

    def start(self) -> None:
        """Binds and listens; raises FlagError where the port is taken."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server(self._address, family=family, backlog=1024)
        except OSError as error:
            raise FlagError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes no new connection and lets requests in work end; `wait_stopped` waits for them."""
        self._server.should_exit = True

    def wait_stopped(self, seconds: float) -> None:
        """Waits for the end that `stop` began."""
        self._thread.join(seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; this is the ASGI application."""
        request = Request(scope, receive)
        try:
            body = await self._body(request)
        except (ClientDisconnect, TimeoutError):
            return
        if body is None:
            response = _error(413, f"Request body is larger than {self._max_body} bytes")
            response.headers["Connection"] = "close"
        elif self._free <= 0:
            response = _error(429, "Server Threadpool Exhausted")
        else:
            self._free -= 1
            try:
                response = await asyncio.get_running_loop().run_in_executor(self._pool, self._handle, request, body)
            finally:
                self._free += 1
        await response(scope, receive, send)

    async def _body(self, request: Request) -> bytes | None:
        """Returns the body, or None where it is too large."""
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdigit() else 0
        if announced > self._max_body:
            return None
        body = bytearray()

        async def read() -> bytes | None:
            async for part in request.stream():
                body.extend(part)
                if len(body) > self._max_body:
                    return None
            return bytes(body)

        return await asyncio.wait_for(read(), _BODY_SECONDS + announced / 2**20)


def _error(status: int, text: str) -> Response:
    return Response(error_body(text), status, media_type="application/json")
