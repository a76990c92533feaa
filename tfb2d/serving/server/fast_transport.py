"""A gRPC server on grpcio's core, faster than its public servers for small requests.

`grpc.server` hands every call from its polling thread to a pool, where a thread waits for the request's message. An echo
costs 317 us of processor time a call that way, and 105 us here, where a thread sees a call only with its message.

One thread at a time, the leader, takes in all calls that are there. It answers the quick ones itself, several in one run
where the method can, and sends the answers afterwards: sending between two runs drives the model's data out of the
processor's cache, and a student's 24 us become 90. Slow requests, and those whose time is not known yet, wait in a line
for a few worker threads. Four threads answer 100-text requests 40% faster than 64 do, which compete for Python's lock.

Calls above the limits are taken in and refused. The core would keep a thousand of them and end the others as CANCELLED.

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
# Quick requests that may wait: half a second's at most, and half of what the core would keep before it cancels.
MOST_QUICK = 500
# An answer that takes so many times its processor time by the clock waits for something, and is slow. On two cores that 26
# processes want, half of pure computing takes 4 times its processor time, and one in twenty 22 times.
BLOCKED = 16
# How often a thread looks whether the server stops, and whether the leader is stuck: ten times a second costs nothing.
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
      on_closed: is called with a stream whose client is gone.
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
        self._background = threading.Semaphore(in_work)
        self._on_closed = on_closed
        self._streams: dict[Any, Call] = {}  # by the core's call
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._workers = self._idle = min(workers, in_work)
        self._line: deque[tuple[float, Received]] = deque()  # slow requests, and since when they wait
        self._quick: deque[Received] | None = deque() if quick else None
        self._lock = threading.Lock()  # of these three
        self._lead = threading.Lock()
        self._busy: float | None = None  # since when the leader is at work on what it took in
        self._seconds: dict[tuple[Any, int], float] = {}  # that an answer takes, by method and the message's magnitude
        # One thread more than workers takes calls in, and refuses them, while all others compute.
        self._threads = [
            threading.Thread(target=self._run, name=f"grpc-{index}", daemon=True) for index in range(self._idle + 1)
        ]

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
        for _ in self._threads:
            self._request_call()
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
                self._line.clear()
                if self._quick:
                    self._quick.clear()
            self._server.cancel_all_calls()
            self._ended.wait(5.0)
        end = max(end, time.monotonic() + 10 * TICK_SECONDS)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _request_call(self) -> None:
        self._server.request_call(self._queue, self._queue, _NEW)

    # The threads: each leads, takes over from a leader that is stuck, or answers slow requests.

    def _run(self) -> None:
        while not self._ended.is_set():
            slow = None
            if self._lead.acquire(timeout=TICK_SECONDS):
                try:
                    while slow is None and not self._ended.is_set():
                        slow = self._round(leads=True)
                finally:
                    self._lead.release()
            else:
                while slow is None and self._stuck() and not self._ended.is_set():
                    slow = self._round(leads=False)
            if slow is not None:
                self._work(*slow)

    def _stuck(self) -> bool:
        busy = self._busy
        return busy is not None and time.monotonic() - busy > TICK_SECONDS

    def _round(self, leads: bool) -> Received | None:
        """Takes in all there is and answers what is quick; returns a slow request for this thread to answer, if any."""
        if (slow := self._next_slow()) is not None:
            return slow
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
        slow = self._next_slow()
        self._refuse()
        self._answer_quick()
        if leads:
            self._busy = None
        return slow

    def _next_slow(self) -> Received | None:
        """Takes a slow request out of the line, unless enough threads answer."""
        with self._lock:
            if not (self._idle and self._line):
                return None
            self._idle -= 1
            return self._line.popleft()[1]

    def _above(self) -> tuple[int, float]:
        """Returns the first index in the line above the limit, and how long that request may stay. Holds the lock."""
        index = self._in_work - (self._workers - self._idle)
        if len(self._line) <= index:
            return index, TICK_SECONDS
        return index, max(0.0, self._line[index][0] + WAIT_SECONDS - time.monotonic())

    def _patience(self) -> float:
        with self._lock:
            return self._above()[1]

    def _refuse(self) -> None:
        """Ends the requests that have been above the limit for too long."""
        while self._line:
            with self._lock:
                index, left = self._above()
                if left:
                    return
                call, _ = self._line[index][1]
                del self._line[index]
            _send([(call, EXHAUSTED)])

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
        if data is None:  # closed, cancelled, or larger than allowed: the core has told the client already
            call.finish(StatusError(Code.INTERNAL, ""))
        elif method.background:
            self._answer_in_background(call, data)
        elif not method.bounded:
            self._answer(call, data)
        else:
            expected = self._seconds.get((method.answer, len(data).bit_length()), float("inf"))
            with self._lock:
                if self._quick is None or expected >= QUICK_SECONDS:
                    return self._line.append((time.monotonic(), (call, data)))
                if len(self._quick) < MOST_QUICK:
                    return self._quick.append((call, data))
            call.finish(EXHAUSTED)

    # Answers

    def _work(self, call: Call, data: bytes) -> None:
        """Answers a slow request and those that came meanwhile."""
        while True:
            self._answer(call, data)
            with self._lock:
                if not self._line:
                    self._idle += 1
                    return
                call, data = self._line.popleft()[1]

    def _answer_quick(self) -> None:
        """Computes the answers to quick requests, then sends them. Where they take too long, the rest counts as slow."""
        if not self._quick:
            return
        with self._lock:
            parts = _parts(self._quick.popleft() for _ in range(min(len(self._quick), MOST_TOGETHER)))
        ready: list[tuple[Call, bytes | StatusError]] = []
        began = time.monotonic()
        while parts:
            part = parts.pop(0)
            try:
                ready.extend(self._compute(part))
            except Exception as error:
                _log.error("%s", where(error))
                ready.extend((call, StatusError(Code.INTERNAL, "")) for call, _ in part)
            now = time.monotonic()
            if now - began > 4 * QUICK_SECONDS:
                _send(ready)
                ready = []
                if now - began > MOST_TOGETHER * QUICK_SECONDS:
                    with self._lock:
                        self._line.extend((now, received) for part in parts for received in part)
                    break
        _send(ready)

    def _answer_in_background(self, call: Call, data: bytes) -> None:
        if not self._background.acquire(blocking=False):
            return call.finish(EXHAUSTED)

        def work() -> None:
            self._answer(call, data)
            self._background.release()

        try:
            threading.Thread(target=work, name="grpc-background", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._background.release()
            call.finish(EXHAUSTED)

    def _answer(self, call: Call, data: bytes) -> None:
        try:
            ((_, answer),) = self._compute([(call, data)])
            assert call.method is not None
            if isinstance(answer, StatusError) or call.method.stream is None:
                return call.finish(answer)
            call.begin(answer)
            call.method.stream(call)
            self._streams[call.core] = call
            # Last: of a client that is gone already it says so at once, and the method must know the stream by then.
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
                kind = method.answer, len(data).bit_length()
                before = self._seconds.get(kind, seconds / len(part))
                self._seconds[kind] = before + 0.2 * (seconds / len(part) - before)
        return [(call, answer) for (call, _), answer in zip(part, answers, strict=True)]


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
