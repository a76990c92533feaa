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
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc._cython import cygrpc

from tfb2d.serving.server.errors import Code, StatusError, where
from tfb2d.serving.server.fast_call import DONE, QUICK_SECONDS, Call, Durations, send, stopwatch
from tfb2d.serving.server.transport import EXHAUSTED, WAIT_SECONDS, Method, Setup

_log = logging.getLogger(__name__)
# Measured as processor time a request, 32 in flight, of one text and of 100 texts a request (docs/embedded_server.md).
# Requests that are answered in one run. 1: 0.46 and 0.55 of the rate; 8: 0.77 and 0.69; 128: 0.77 and 0.94.
MOST_TOGETHER = 32
# Quick requests that may wait. Of requests of 0.3 ms, 2,000 in flight, 50 answered 44% (median 0.5 s), 500 answered 57%
# (1.0 s) and 5,000 answered 98% (1.3 s); gRPC's core cancelled 13%, 10% and 1%, which had not been taken in early enough.
MOST_QUICK = 5000
# How often the watcher looks whether the leader is stuck. A request during an answer of 1 s waited 5 ms at 0.01 (which
# took 1.1% of a processor), 0.3 s at 0.1 (0.2%) and 1.1 s at 1.0 (0.1%).
TICK_SECONDS = 0.1
CHECK_SECONDS = 5.0  # for the call that is tried at start

_NEW, _SHUTDOWN = object(), object()  # what an event of the core is about; others are about a call, or `DONE`
Received = tuple[Call, bytes]  # a request whose message is there


def problem() -> str:
    """Returns why this transport cannot be used with the grpcio that is installed; "" where it can: a call is answered."""
    try:
        server = FastTransport(Setup({"/echo": Method(lambda data, seconds: data)}, in_work=1, workers=1))
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


class FastTransport:
    """Is the fast transport, where `in_work` counts slow requests alone.

    `quick` says whether the leader answers what is quick; it is off where an answer waits for other requests.
    """

    def __init__(self, setup: Setup, quick: bool = True) -> None:
        self._methods = {path.encode(): method for path, method in setup.methods.items()}
        self._in_work = setup.in_work
        self._on_closed = setup.on_closed
        self._quick_at_all = quick
        self._streams: dict[Any, Call] = {}  # by the core's call
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(setup.settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(min(setup.workers, setup.in_work), "grpc")
        self._background = ThreadPoolExecutor(setup.in_work, "grpc-background")
        self._active = 0  # requests that the pool has
        self._line: deque[tuple[float, Received]] = deque()  # requests above the limit, and since when they wait
        self._quick: deque[Received] = deque()
        self._lock = threading.Lock()  # of these three
        self._busy: float | None = None  # since when the leader is at work on what it took in
        self._durations = Durations()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._lead, self._watch)]

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> bool:
        """Takes an address ("host:port", "unix:path"); returns whether it was free."""
        secured = () if credentials is None else (credentials._credentials,)
        try:
            return self._server.add_http2_port(address.encode(), *secured) > 0
        except RuntimeError:
            return False

    def start(self) -> None:
        """Starts listening."""
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
            send([(call, EXHAUSTED)])

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
        elif tag is not DONE:
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
        expected = self._durations.expected(method, data)
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
        send(ready)

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
        """Returns the answers to requests of one method; remembers how long they took."""
        now, seconds = time.time(), stopwatch()
        method = part[0][0].method
        assert method is not None
        requests = [(data, call.left(now)) for call, data in part]
        if len(part) > 1 and method.together is not None:
            answers = method.together(requests)
        else:
            answers = [method.result(*request) for request in requests]
        # An error is quicker than an answer would be.
        answered = [data for (data, _), answer in zip(requests, answers, strict=True) if isinstance(answer, bytes)]
        self._durations.remember(method, answered, seconds() / len(part))
        return [(call, answer) for (call, _), answer in zip(part, answers, strict=True)]


def _parts(received: Iterable[Received]) -> list[list[Received]]:
    """Groups requests that are answered together; each other one is by itself."""
    parts: dict[Any, list[Received]] = {}
    for call, data in received:
        assert call.method is not None
        parts.setdefault(call.method.together or call, []).append((call, data))
    return list(parts.values())
