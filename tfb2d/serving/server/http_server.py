"""A small HTTP/1.1 server: asyncio reads and writes, h11 parses, threads answer.

Connections cost a coroutine, not a thread, and a request that drips in is dropped after a while: idle and slow clients do
not stop the others.
"""

import asyncio
import email.utils
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import h11

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 75.0  # between requests of a connection
_HEADER_SECONDS = 20.0  # from a request's first byte to the end of its headers
_BODY_SECONDS = 60.0  # for a body; a large one gets more
_SLOWEST = 1 << 20  # bytes a second
_HEADER_BYTES = 64 << 10
_WAITING = 1000  # requests that may wait for a thread


class Request(NamedTuple):
    """A whole request."""

    method: str
    target: str
    body: bytes


class Response(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Handle = Callable[[Request], Response]
NOT_FOUND_HTML = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class HttpServer:
    """Listens from `start` to `stop`, in a thread of its own.

    Args:
      host: address.
      port: TCP port.
      handle: answers a request, in a worker thread; must not raise.
      threads: workers.
      max_body: a larger body is refused with 413.
    """

    def __init__(self, host: str, port: int, handle: Handle, threads: int, max_body: int) -> None:
        self._address = (host, port)
        self._handle = handle
        self._pool = ThreadPoolExecutor(max(1, threads), "rest")
        self._most = max(1, threads) + _WAITING
        self._max_body = max_body
        self._loop = asyncio.new_event_loop()
        self._busy = 0
        self._stopping = False
        self._stopped = threading.Event()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)

    def start(self) -> None:
        """Binds and listens.

        Raises:
          OSError: the port is taken.
        """
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    async def _listen(self) -> None:
        host, port = self._address
        self._server = await asyncio.start_server(self._connection, host, port, limit=1 << 20, backlog=1024)

    def stop(self, grace: float) -> None:
        """Takes no new connection, lets requests in work end, for at most `grace` seconds."""
        asyncio.run_coroutine_threadsafe(self._drain(grace), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stopped.set()

    def wait_stopped(self, seconds: float) -> None:
        """Waits for `stop`, which may run in another thread."""
        self._stopped.wait(seconds)

    async def _drain(self, grace: float) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.close()
        end = self._loop.time() + grace
        while self._busy and self._loop.time() < end:
            await asyncio.sleep(0.01)
        tasks = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, asyncio.TimeoutError, h11.LocalProtocolError):
            pass
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            request = await self._read(connection, reader, writer)
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint or 400
            await self._write(connection, writer, Response(status, b"", "text/html"), close=True)
            return False
        if request is None:
            return False
        if isinstance(request, Response):
            await self._write(connection, writer, request, close=True)
            return False
        if self._busy >= self._most:
            response = Response(429, b'{\n    "error": "Server Threadpool Exhausted"\n}')
        else:
            self._busy += 1
            try:
                response = await self._loop.run_in_executor(self._pool, self._handle, request)
            finally:
                self._busy -= 1
        await self._write(connection, writer, response, close=self._stopping, head=request.method == "HEAD")
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _read(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | Response | None:
        head: h11.Request | None = None
        body = bytearray()
        deadline = self._loop.time() + _IDLE_SECONDS
        begun = False
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                    writer.write(go_on or b"")
                data = await asyncio.wait_for(reader.read(1 << 18), max(0.001, deadline - self._loop.time()))
                if not begun:
                    begun = True
                    deadline = self._loop.time() + _HEADER_SECONDS
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                length = int(dict(event.headers).get(b"content-length", b"0"))
                if length > self._max_body:
                    return _too_large(self._max_body)
                deadline = self._loop.time() + _BODY_SECONDS + length / _SLOWEST
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_body:
                    return _too_large(self._max_body)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Request(head.method.decode("latin-1"), head.target.decode("latin-1"), bytes(body))
            else:
                return None  # closed

    async def _write(
        self,
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
        response: Response,
        close: bool = False,
        head: bool = False,
    ) -> None:
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [("Content-Type", response.content_type), ("Date", email.utils.formatdate(usegmt=True))]
        headers += [("Content-Length", str(len(response.body))), *response.headers]
        if close or not connection.their_state or connection.their_http_version == b"1.0":
            headers.append(("Connection", "close"))
        out = connection.send(h11.Response(status_code=response.status, headers=headers)) or b""
        if not head:
            out += connection.send(h11.Data(data=response.body)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        writer.write(out)
        await asyncio.wait_for(writer.drain(), _BODY_SECONDS + len(out) / _SLOWEST)


def _too_large(limit: int) -> Response:
    return Response(413, f'{{\n    "error": "Request body is larger than {limit} bytes"\n}}'.encode())
