"""A unary gRPC server on grpcio's core: threads that poll, answer and poll again.

`grpc.server` hands every call from its polling thread to a pool, where a thread waits for the request's message; this costs
three times the processor time (317 against 105 us a call, measured for an echo), and clients that never send their message
take the pool's threads. Here a thread sees a call only when its message is there, and few threads compute: what comes
meanwhile is taken in and waits. (With 16 clients on 2 cores, 4 of them answered 40% more requests a second than 64, which
fight over Python's lock.) The classes are those that `grpc.server` itself is made of (grpc/_server.py); they are private,
so setup.py bounds grpcio and `tests/serving/server` covers them.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import grpc
from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, ServingError, cut_details, where

_log = logging.getLogger(__name__)
_TURN_SECONDS = 0.05  # a burst just above the limit is served, not refused
_NO_DEADLINE = 1e7  # seconds; gRPC gives a request without one some centuries
_MAX_BACKGROUND = 16  # calls that may block for long
_WAKE_SECONDS = 0.5  # how often a thread looks whether it is over

Answer = Callable[[bytes, float | None], bytes]  # message, seconds left (None: no deadline) -> message; ServingError
_NEW, _DONE, _SHUTDOWN = object(), object(), object()


class Method(NamedTuple):
    """How a path is answered."""

    answer: Answer
    bounded: bool = True  # counts as a request in work
    background: bool = False  # may block for long: gets a thread of its own
    stream: Callable[["Call"], None] | None = None  # keeps the call open after the first answer


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

    def _start(self, operations: tuple) -> None:
        self.core.start_server_batch(operations, _DONE)


class Transport:
    """Listens from `start` to `stop`.

    Args:
      methods: path -> method; other paths are UNIMPLEMENTED.
      in_work: requests taken in at once; one more waits a moment, then is RESOURCE_EXHAUSTED.
      workers: threads that answer them.
      settings: gRPC channel arguments.
      on_closed: told of a stream's call when its client is gone.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        in_work: int,
        workers: int,
        settings: list[tuple[str, Any]],
        on_closed: Callable[[Any], None] | None = None,
    ) -> None:
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._turns = threading.Semaphore(in_work)
        self._patient = True
        self._background = threading.Semaphore(_MAX_BACKGROUND)
        self._on_closed = on_closed
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._idle = min(workers, in_work)
        self._waiting: deque[tuple[Call, bytes]] = deque()
        self._lock = threading.Lock()  # of these two
        # One thread more than workers takes calls in, and refuses them, while all others compute.
        self._threads = [
            threading.Thread(target=self._poll, name=f"grpc-{number}", daemon=True) for number in range(self._idle + 1)
        ]

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> bool:
        """Takes an address ("host:port", "unix:path"); whether it was free."""
        try:
            if credentials is None:
                return self._server.add_http2_port(address.encode()) > 0
            return self._server.add_http2_port(address.encode(), credentials._credentials) > 0
        except RuntimeError:
            return False

    def start(self) -> None:
        """Listens."""
        self._server.start()
        for _ in self._threads:
            self._request()
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float) -> None:
        """Takes no new call, waits for those there are, cancels them after `grace` seconds.

        The queue is not shut down: a call may still be computed whose client is gone, and the core aborts the process when
        an operation is started on a queue that was.
        """
        end = time.monotonic() + grace
        self._server.shutdown(self._queue, _SHUTDOWN)
        if not self._ended.wait(grace):
            with self._lock:
                self._waiting.clear()
            self._server.cancel_all_calls()
            self._ended.wait(5.0)
        end = max(end, time.monotonic() + 2 * _WAKE_SECONDS)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _request(self) -> None:
        self._server.request_call(self._queue, self._queue, _NEW)

    def _poll(self) -> None:
        while not self._ended.is_set():
            event = self._queue.poll(time.time() + _WAKE_SECONDS)
            if event.completion_type == cygrpc.CompletionType.queue_timeout:
                continue
            try:
                self._take(event)
            except Exception as error:  # of one call, which the core may have ended; the thread serves all
                _log.error("%s", where(error))
            event = None  # it holds the call

    def _take(self, event: Any) -> None:
        tag = event.tag
        if tag is _NEW:
            if event.success:
                with contextlib.suppress(ValueError):  # it stops, and this call came in before
                    self._request()
                self._take_in(event)
        elif tag is _SHUTDOWN:
            self._ended.set()
        elif isinstance(tag, Call):
            self._message(tag, event.batch_operations[0].message())
        elif tag is not _DONE and self._on_closed is not None:
            self._on_closed(tag)

    def _take_in(self, event: Any) -> None:
        method = self._methods.get(event.call_details.method)
        call = Call(event.call, method, event.call_details.deadline)
        if method is None:  # answered without waiting for a message
            return _finish(call, None, ServingError(Code.UNIMPLEMENTED, ""))
        call.core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), call)

    def _message(self, call: Call, data: bytes | None) -> None:
        method = call.method
        assert method is not None
        if data is None:  # closed, cancelled, or larger than allowed: the core has told the client already
            return _finish(call, None, ServingError(Code.INTERNAL, ""))
        if method.background:
            return self._apart(call, data)
        if not method.bounded:
            return self._answer(call, method, data)
        if not self._turn():
            return _finish(call, None, ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))
        with self._lock:
            if not self._idle:
                return self._waiting.append((call, data))
            self._idle -= 1
        self._work(call, data)

    def _work(self, call: Call, data: bytes) -> None:
        """Answers a request and those that came meanwhile."""
        while True:
            self._answer_safely(call, data)
            self._turns.release()
            with self._lock:
                if not self._waiting:
                    self._idle += 1
                    return
                call, data = self._waiting.popleft()

    def _turn(self) -> bool:
        got = self._turns.acquire(timeout=_TURN_SECONDS if self._patient else 0)
        self._patient = got  # while all others are stuck, refusing must not take time
        return got

    def _apart(self, call: Call, data: bytes) -> None:
        if not self._background.acquire(blocking=False):
            return _finish(call, None, ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))

        def work() -> None:
            self._answer_safely(call, data)
            self._background.release()

        try:
            threading.Thread(target=work, name="grpc-background", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._background.release()
            _finish(call, None, ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))

    def _answer_safely(self, call: Call, data: bytes) -> None:
        try:
            assert call.method is not None
            self._answer(call, call.method, data)
        except Exception as error:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(error))

    @staticmethod
    def _answer(call: Call, method: Method, data: bytes) -> None:
        left = call.deadline - time.time()
        try:
            answer = method.answer(data, left if left < _NO_DEADLINE else None)
        except ServingError as error:
            return _finish(call, None, error)
        if method.stream is None:
            return _finish(call, answer, None)
        call.send(answer)
        method.stream(call)
        # Last: of a client that is gone already it says so at once, and nobody may be told before `stream` was.
        call.core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), call.core)


def _status(code: Code, details: str) -> Any:
    return cygrpc.SendStatusFromServerOperation((), int(code), cut_details(details).encode(), 0)


def _finish(call: Call, answer: bytes | None, error: ServingError | None) -> None:
    message = () if answer is None else (cygrpc.SendMessageOperation(answer, 0),)
    status = _OK if error is None else _status(error.code, error.message)
    operations = (_METADATA, *message, status, cygrpc.ReceiveCloseOnServerOperation(0))
    call.core.start_server_batch(operations, _DONE)


_METADATA = cygrpc.SendInitialMetadataOperation((), 0)
_OK = _status(Code.OK, "")
