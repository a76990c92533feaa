"""Takes gRPC requests by grpcio's public asyncio server: always there, at about half the speed of `fast_transport`.

A call is a coroutine until its turn comes, so that many waiting, idle or slow clients cost no thread; a pool answers.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc

from tfb2d.serving.server.errors import Code, StatusError, cut_details, where
from tfb2d.serving.server.transport import EXHAUSTED, WAIT_SECONDS, Method, Setup

_log = logging.getLogger(__name__)
_STATUS = {int(code.value[0]): code for code in grpc.StatusCode}


class AioTransport(grpc.GenericRpcHandler):
    """Is the public transport."""

    def __init__(self, setup: Setup) -> None:
        self._methods = setup.methods
        self._on_closed = setup.on_closed
        self._pool = ThreadPoolExecutor(min(setup.workers, setup.in_work), "grpc")
        self._background = ThreadPoolExecutor(setup.in_work, "grpc-background")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc-loop", daemon=True)
        self._thread.start()
        self._call(self._make(setup))

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _make(self, setup: Setup) -> None:
        self._turns = asyncio.Semaphore(setup.in_work)
        self._room = setup.in_work  # requests that may wait for a turn
        self._server = grpc.aio.server(handlers=[self], options=setup.settings)

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
            result = await self._result(method, data, context)
            if isinstance(result, StatusError):
                await context.abort(_STATUS[result.code], cut_details(result.message))
            assert isinstance(result, bytes)
            return result

        async def stream(data: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            assert method is not None
            yield await answer(data, context)
            opened = _Opened()
            method.stream(opened)  # type: ignore[misc]
            try:
                yield await asyncio.wrap_future(opened.last)
            finally:
                self._on_closed(opened)

        if method is not None and method.stream is not None:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(answer)

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
        except TimeoutError:
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
    """Is a stream that is open; `last` is set to its last message."""

    def __init__(self) -> None:
        self.last: Future[bytes] = Future()

    def end(self, data: bytes) -> None:
        """Sends the last message."""
        if not self.last.done():
            self.last.set_result(data)
