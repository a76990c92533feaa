"""Takes gRPC requests by grpcio's public asyncio server: always there, at about half the speed of `fast_transport`.

A call is a coroutine until its turn comes, so that many waiting, idle or slow clients cost no thread; a pool answers.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc

from tfb2d.serving.server.errors import Code, StatusError, cut_details, where
from tfb2d.serving.server.transport import EXHAUSTED, WAIT_SECONDS, Method, Stream

_log = logging.getLogger(__name__)
_STATUS = {int(code.value[0]): code for code in grpc.StatusCode}


class AioTransport(grpc.GenericRpcHandler):
    """The public transport. See `transport.Transport`.

    Args:
      methods: path -> method; other paths are UNIMPLEMENTED.
      in_work: requests that are answered or in line for it; one more waits a moment, then is RESOURCE_EXHAUSTED.
      workers: threads that answer them.
      settings: gRPC channel arguments.
      on_closed: is called with a stream whose client has left.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        in_work: int,
        workers: int,
        settings: list[tuple[str, Any]],
        on_closed: Callable[[Stream], None] | None = None,
    ) -> None:
        self._methods = methods
        self._on_closed = on_closed
        self._pool = ThreadPoolExecutor(min(workers, in_work), "grpc")
        self._background = ThreadPoolExecutor(in_work, "grpc-background")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc-loop", daemon=True)
        self._thread.start()
        self._call(self._make(in_work, settings))

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _make(self, in_work: int, settings: list[tuple[str, Any]]) -> None:
        self._turns = asyncio.Semaphore(in_work)
        self._room = in_work  # requests that may wait for a turn
        self._server = grpc.aio.server(handlers=[self], options=settings)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> bool:
        """Takes an address ("host:port", "unix:path"); returns whether it was free."""

        async def add() -> int:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)

        try:
            return self._call(add()) > 0
        except RuntimeError:
            return False

    def start(self) -> None:
        """Starts listening."""
        self._call(self._server.start())

    def stop(self, grace: float) -> None:
        """Takes no new call, waits for those there are, cancels them after `grace` seconds."""

        async def end() -> None:
            await self._server.stop(grace)
            left = asyncio.all_tasks() - {asyncio.current_task()}  # requests whose client has gone
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self._call(end())
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Returns what handles a path; called by grpcio."""
        method = self._methods.get(handler_call_details.method)

        async def answer(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return await self._answer(method, data, context)

        async def stream(data: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            assert method is not None
            yield await self._answer(method, data, context)
            opened = _Opened()
            method.stream(opened)  # type: ignore[misc]
            try:
                yield await asyncio.wrap_future(opened.last)
            finally:
                if self._on_closed is not None:
                    self._on_closed(opened)

        if method is not None and method.stream is not None:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(self, method: Method | None, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        result = await self._result(method, data, context)
        if isinstance(result, StatusError):
            await context.abort(_STATUS[result.code], cut_details(result.message))
        assert isinstance(result, bytes)
        return result

    async def _result(
        self, method: Method | None, data: bytes, context: grpc.aio.ServicerContext
    ) -> bytes | StatusError:
        if method is None:
            return StatusError(Code.UNIMPLEMENTED, "")
        if not method.bounded:
            return await self._compute(method, data, context, self._background if method.background else None)
        if not self._room:
            return EXHAUSTED
        self._room -= 1
        try:
            await asyncio.wait_for(self._turns.acquire(), WAIT_SECONDS)
        except asyncio.TimeoutError:
            return EXHAUSTED
        finally:
            self._room += 1

        async def turn() -> bytes | StatusError:
            try:
                return await self._compute(method, data, context, self._pool)
            finally:
                self._turns.release()

        # Shielded: the turn is over when the thread is free again, not when the client leaves.
        return await asyncio.shield(self._loop.create_task(turn()))

    async def _compute(
        self, method: Method, data: bytes, context: grpc.aio.ServicerContext, pool: ThreadPoolExecutor | None
    ) -> bytes | StatusError:
        try:
            if pool is None:  # a look-up
                return method.result(data, context.time_remaining())
            return await self._loop.run_in_executor(pool, method.result, data, context.time_remaining())
        except Exception as error:
            _log.error("%s", where(error))
            return StatusError(Code.INTERNAL, "")


class _Opened:
    """A stream that is open; `last` is set to its last message."""

    def __init__(self) -> None:
        self.last: Future[bytes] = Future()

    def end(self, data: bytes) -> None:
        """Sends the last message."""
        if not self.last.done():
            self.last.set_result(data)
