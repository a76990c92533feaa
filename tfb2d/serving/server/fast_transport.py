"""Accelerates the gRPC transport: grpcio's core without the threads of its public servers.

`grpc.server` hands every call from its polling thread to a pool, where a thread waits for the request's message. An echo
costs 317 us of processor time a call that way, and 105 us here, where a thread sees a call only with its message.

A thread, the leader, takes in all calls that are there. It answers the quick ones itself, several in one run where the
method can, and then sends the answers: sending between two runs drives the model's data out of the processor's cache, and
a student's 24 us become 90. Slow requests, and those whose time is not known yet, go to a small pool: 4 threads answer
requests of 100 texts 40% faster than 64 do, which compete for Python's lock. A second thread watches. When the leader is
stuck in an answer that was expected to be quick, it takes calls in and gives all of them to the pool.

The classes are those that `grpc.server` itself is made of (grpc/_server.py). They are private, so `problem` tries them when
the server starts, and `aio_transport` takes over where they have changed.
"""

import contextlib
import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, StatusError, cut_details, where
from tfb2d.serving.server.transport import EXHAUSTED, WAIT_SECONDS, Method, Stream

_log = logging.getLogger(__name__)
# Measured as processor time a request, 32 in flight, of one text and of 100 texts a request (docs/embedded_server.md).
# Of processor time: the leader answers what is expected to take less. 0.1 ms: 0.63 and 0.62 of the rate; 10 ms: 1.0 and
# 1.01, but quick requests would wait longer for slow ones.
QUICK_SECONDS = 0.001
# Requests that are answered in one run. 1: 0.46 and 0.55 of the rate; 8: 0.77 and 0.69; 128: 0.77 and 0.94.
MOST_TOGETHER = 32
# Quick requests that may wait. Of requests of 0.3 ms, 2,000 in flight, 50 answered 44% (median 0.5 s), 500 answered 57%
# (1.0 s) and 5,000 answered 98% (1.3 s); gRPC's core cancelled 13%, 10% and 1%, which had not been taken in early enough.
MOST_QUICK = 5000
# An answer that takes so many times its processor time by the clock waits for something, and is slow. On two cores that 26
# processes want, half of pure computing takes 4 times its processor time, and one in twenty 22 times.
BLOCKED = 16
# How often the watcher looks whether the leader is stuck. A request behind an answer of 1 s waited 5 ms at 0.01 (which
# took 1.1% of a processor), 0.3 s at 0.1 (0.2%) and 1.1 s at 1.0 (0.1%).
TICK_SECONDS = 0.1
CHECK_SECONDS = 5.0  # for the call that is tried at start

_NO_DEADLINE = 1e7  # seconds; gRPC gives a request without one some centuries
_NEW, _SHUTDOWN, _DONE = object(), object(), object()  # what an event of the core is about
_METADATA = cygrpc.SendInitialMetadataOperation((), 0)


def problem() -> str:
    """Returns why this transport cannot be used with the grpcio that is installed; "" where it can: a call is answered."""
    try:
        server = FastTransport({"/echo": Method(lambda data, seconds: data)}, 1, 1, [])
        with tempfile.TemporaryDirectory() as folder:
            address = f"unix:{folder}/s"
            if not server.bind(address, None):
                return "it cannot listen"
            server.start()
            with grpc.insecure_channel(address) as channel:
                answer = channel.unary_unary("/echo")(b"echo", timeout=CHECK_SECONDS)
            server.stop(1.0)
        return "" if answer == b"echo" else "it answers wrongly"
    except Exception as error:  # whatever a change of private classes leads to
        return f"{type(error).__name__}: {error}"


class Call(NamedTuple):
    """A call whose message is awaited, or that is kept open."""

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
        self.core.start_server_batch(operations, _DONE)


def _status(code: Code, details: str) -> Any:
    return cygrpc.SendStatusFromServerOperation((), int(code), cut_details(details).encode(), 0)


_OK = _status(Code.OK, "")
Received = tuple[Call, bytes]  # a request whose message is there


class FastTransport:
    """The fast transport. See `transport.Transport`.

    Args:
      methods: path -> method; other paths are UNIMPLEMENTED.
      in_work: slow requests that are answered or in line for it; one more waits a moment, then is RESOURCE_EXHAUSTED.
      workers: threads that answer them.
      settings: gRPC channel arguments.
      on_closed: is called with a stream whose client has left.
      quick: whether the leader answers what is quick; off where an answer waits for other requests.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        in_work: int,
        workers: int,
        settings: list[tuple[str, Any]],
        on_closed: Callable[[Stream], None] | None = None,
        quick: bool = True,
    ) -> None:
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._in_work = in_work
        self._on_closed = on_closed
        self._quick_at_all = quick
        self._streams: dict[Any, Call] = {}  # by the core's call
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(min(workers, in_work), "grpc")
        self._background = ThreadPoolExecutor(in_work, "grpc-background")
        self._active = 0  # requests that the pool has
        self._line: deque[tuple[float, Received]] = deque()  # requests above the limit, and since when they wait
        self._quick: deque[Received] = deque()
        self._lock = threading.Lock()  # of these three
        self._busy: float | None = None  # since when the leader is at work on what it took in
        self._seconds: dict[tuple[Any, int], float] = {}  # that an answer takes, by method and the message's magnitude
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._lead, self._watch)]

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> bool:
        """Takes an address ("host:port", "unix:path"); returns whether it was free."""
        secured = () if credentials is None else (credentials._credentials,)
        try:
            return self._server.add_http2_port(address.encode(), *secured) > 0
        except RuntimeError:
            return False

    def start(self) -> None:
        """Listens."""
        self._server.start()
        for thread in self._threads:
            self._request_call()
            thread.start()

    def stop(self, grace: float) -> None:
        """Takes no new call, waits for those there are, cancels them after `grace` seconds.

        The queue is not shut down: a call may still be computed whose client has left, and the core aborts the process
        when an operation is started on a queue that was.
        """
        self._server.shutdown(self._queue, _SHUTDOWN)
        if not self._ended.wait(grace):
            with self._lock:
                self._line.clear()
                self._quick.clear()
            self._server.cancel_all_calls()
            self._ended.wait(5.0)
        for thread in self._threads:
            thread.join(10 * TICK_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)

    def _request_call(self) -> None:
        self._server.request_call(self._queue, self._queue, _NEW)

    # The two threads

    def _lead(self) -> None:
        while not self._ended.is_set():
            self._take_in(leads=True)
            self._answer_quick()
            self._busy = None

    def _watch(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            while self._stuck() and not self._ended.is_set():
                self._take_in(leads=False)
                with self._lock:
                    waiting, self._quick = self._quick, deque()
                for received in waiting:
                    self._to_pool(received)

    def _stuck(self) -> bool:
        busy = self._busy
        return busy is not None and time.monotonic() - busy > TICK_SECONDS

    def _take_in(self, leads: bool) -> None:
        """Takes in all calls that are there, and refuses those that have been above the limit for too long."""
        for index in range(6 * MOST_TOGETHER):  # a call is three events: two runs' worth
            event = self._queue.poll(0 if index or self._quick else time.time() + self._patience())
            if event.completion_type == cygrpc.CompletionType.queue_timeout:
                break
            if leads and not index:
                self._busy = time.monotonic()
            try:
                self._take(event)
            except Exception as error:  # of one call, which the core may have ended; this thread serves all
                _log.error("%s", where(error))
        event = None  # it holds a call
        while self._line and not self._patience():
            with self._lock:
                call, _ = self._line.popleft()[1]
            _send([(call, EXHAUSTED)])

    def _patience(self) -> float:
        """Returns how long the threads may wait for a call: until a request is to be refused."""
        with self._lock:
            return max(0.0, self._line[0][0] + WAIT_SECONDS - time.monotonic()) if self._line else TICK_SECONDS

    # Events

    def _take(self, event: Any) -> None:
        """Does what an event asks for."""
        tag = event.tag
        if tag is _NEW:
            if event.success:
                with contextlib.suppress(ValueError):  # the server stops, and this call came in before
                    self._request_call()
                self._receive(event)
        elif tag is _SHUTDOWN:
            self._ended.set()
        elif isinstance(tag, Call):
            self._message(tag, event.batch_operations[0].message())
        elif tag is not _DONE and self._on_closed is not None:
            self._on_closed(self._streams.pop(tag))

    def _receive(self, event: Any) -> None:
        method = self._methods.get(event.call_details.method)
        call = Call(event.call, method, event.call_details.deadline)
        if method is None:  # answered without waiting for a message
            call.finish(StatusError(Code.UNIMPLEMENTED, ""))
        else:
            call.core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), call)

    def _message(self, call: Call, data: bytes | None) -> None:
        method = call.method
        assert method is not None
        if data is None:  # closed, cancelled, or larger than allowed: the core has answered the client already
            call.finish(StatusError(Code.INTERNAL, ""))
        elif method.background:
            self._background.submit(self._answer, call, data)
        elif not method.bounded:
            self._answer(call, data)
        elif not self._answers_quickly(method, data):
            self._to_pool((call, data))
        elif len(self._quick) < MOST_QUICK:
            self._quick.append((call, data))
        else:
            call.finish(EXHAUSTED)

    def _answers_quickly(self, method: Method, data: bytes) -> bool:
        expected = self._seconds.get(_kind(method, data), float("inf"))
        return self._quick_at_all and expected < QUICK_SECONDS and not self._stuck()

    # Answers

    def _to_pool(self, received: Received) -> None:
        with self._lock:
            if self._active >= self._in_work:
                return self._line.append((time.monotonic(), received))
            self._active += 1
        self._pool.submit(self._work, *received)

    def _work(self, call: Call, data: bytes) -> None:
        """Answers a slow request; then the next in line has its turn."""
        self._answer(call, data)
        with self._lock:
            following = self._line.popleft()[1] if self._line else None
            self._active -= following is None
        if following is not None:
            self._pool.submit(self._work, *following)

    def _answer_quick(self) -> None:
        """Computes the answers to quick requests, then sends them. Where they take too long, the others count as slow."""
        with self._lock:
            parts = _parts(self._quick.popleft() for _ in range(min(len(self._quick), MOST_TOGETHER)))
        ready: list[tuple[Call, bytes | StatusError]] = []
        began = time.monotonic()
        for part in parts:
            if time.monotonic() - began > MOST_TOGETHER * QUICK_SECONDS:
                for received in part:
                    self._to_pool(received)
                continue
            try:
                ready.extend(self._compute(part))
            except Exception as error:
                _log.error("%s", where(error))
                ready.extend((call, StatusError(Code.INTERNAL, "")) for call, _ in part)
        _send(ready)

    def _answer(self, call: Call, data: bytes) -> None:
        try:
            ((_, answer),) = self._compute([(call, data)])
            assert call.method is not None
            if isinstance(answer, StatusError) or call.method.stream is None:
                return call.finish(answer)
            call.begin(answer)
            call.method.stream(call)
            self._streams[call.core] = call
            # Last: of a client that has left already it says so at once, and the method must know the stream by then.
            call.core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), call.core)
        except Exception as error:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(error))

    def _compute(self, part: Sequence[Received]) -> list[tuple[Call, bytes | StatusError]]:
        """Returns the answers to requests of one method; remembers how long an answer took."""
        now, began, computed = time.time(), time.monotonic(), time.thread_time()
        method = part[0][0].method
        assert method is not None
        requests = [(data, call.left(now)) for call, data in part]
        if len(part) > 1 and method.together is not None:
            answers = method.together(requests)
        else:
            answers = [method.result(*request) for request in requests]
        seconds, clock = time.thread_time() - computed, time.monotonic() - began
        if clock > max(2 * QUICK_SECONDS, BLOCKED * seconds):
            seconds = clock
        for (_, data), answer in zip(part, answers, strict=True):
            if not isinstance(answer, StatusError):  # an error is quicker than an answer would be
                kind, mean = _kind(method, data), seconds / len(part)
                self._seconds[kind] = 0.8 * self._seconds.get(kind, mean) + 0.2 * mean
        return [(call, answer) for (call, _), answer in zip(part, answers, strict=True)]


def _kind(method: Method, data: bytes) -> tuple[Any, int]:
    return method.answer, len(data).bit_length()


def _parts(received: Iterable[Received]) -> list[list[Received]]:
    """Groups requests that are answered together; each other one is by itself."""
    parts: dict[Any, list[Received]] = {}
    for call, data in received:
        assert call.method is not None
        parts.setdefault(call.method.together or call, []).append((call, data))
    return list(parts.values())


def _send(ready: Iterable[tuple[Call, bytes | StatusError]]) -> None:
    for call, answer in ready:
        try:
            call.finish(answer)
        except Exception as error:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(error))
