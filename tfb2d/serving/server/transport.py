"""A unary gRPC server on grpcio's core: threads that take calls in, answer, and take calls in again.

`grpc.server` hands every call from its polling thread to a pool, where a thread waits for the request's message; this costs
three times the processor time (317 against 105 us a call, measured for an echo), and clients that never send their message
take the pool's threads. Here a thread sees a call only when its message is there.

One thread at a time, the leader, takes calls in: all that are there. Those whose answers are known to be quick it computes
together, in one run where the method can, else one after the other, and then sends all of them: between two sends of an
answer each, a student's 24 us become 90, since the network's code drives the graph's out of the cache. For what is slow or
not known yet it gives the lead away and computes beside the next leader; few threads do so, and what comes meanwhile stands
in a line. (Of 100 texts a request, 4 of them answered 40% more than 64, which fight over Python's lock.)

Calls that are too many are taken in, too, and refused: left to the core they would pile up there, and from a thousand on it
ends them as CANCELLED, where TensorFlow Serving says RESOURCE_EXHAUSTED.

The classes are those that `grpc.server` itself is made of (grpc/_server.py); they are private, so setup.py bounds grpcio
and `tests/serving/server` covers them.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc

from tfb2d.serving.server.call import DONE, Answer, Call, Method
from tfb2d.serving.server.errors import Code, ServingError, where

_log = logging.getLogger(__name__)
_LINE_SECONDS = 0.05  # a slow request above the limit may stand in the line for so long: short bursts are served
_QUICK_LINE_SECONDS = 0.3  # quick requests that take so long together are as many as may wait
_MAX_BACKGROUND = 16  # calls that may block for long
_WAKE_SECONDS = 0.5  # how often a thread looks whether it is over
_QUICK_SECONDS = 0.001  # of processor time: an answer that is expected to take less is quick
_BATCH_SECONDS = 0.002  # of answers that wait to be sent together
_MOST_TOGETHER = 32  # computed together before the time is looked at
_BLOCKED = 16  # times its processor time: an answer that takes longer by the clock waits for something
_ROUND_EVENTS = 192  # taken in before what is quick is answered; a call is three
_STUCK_SECONDS = 0.1  # a leader that is busy for so long is no leader

_EXHAUSTED = ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
_NEW, _SHUTDOWN = object(), object()
Asked = tuple[Call, bytes]  # a request whose message is there
Answered = tuple[Call, bytes | ServingError]


class Transport:
    """Listens from `start` to `stop`.

    Args:
      methods: path -> method; other paths are UNIMPLEMENTED.
      in_work: slow requests that are answered or in line for it; one more waits a moment, then is RESOURCE_EXHAUSTED.
      workers: threads that answer them.
      settings: gRPC channel arguments.
      on_closed: told of a stream's call when its client is gone.
      together: whether the leader answers what is quick; off where an answer waits for other requests.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        in_work: int,
        workers: int,
        settings: list[tuple[str, Any]],
        on_closed: Callable[[Any], None] | None = None,
        together: bool = True,
    ) -> None:
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._in_work = in_work
        self._background = threading.Semaphore(_MAX_BACKGROUND)
        self._on_closed = on_closed
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._workers = self._idle = min(workers, in_work)
        self._line: deque[tuple[float, Asked]] = deque()  # slow ones, and since when
        self._quick: deque[tuple[float, Asked]] = deque()  # quick ones, and how long each takes
        self._quick_seconds = 0.0  # what these take
        self._lock = threading.Lock()  # of these four
        self._lead = threading.Lock()
        self._busy: float | None = None  # since when the leader is, with what it took in
        self._together = together
        self._seconds: dict[tuple[Answer, int], float] = {}  # of answers, by method and the message's magnitude
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
                self._line.clear()
                self._quick.clear()
            self._server.cancel_all_calls()
            self._ended.wait(5.0)
        end = max(end, time.monotonic() + 2 * _WAKE_SECONDS)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _request(self) -> None:
        self._server.request_call(self._queue, self._queue, _NEW)

    def _poll(self) -> None:
        patience = _STUCK_SECONDS if self._together else _WAKE_SECONDS
        while not self._ended.is_set():
            slow = None
            if self._lead.acquire(timeout=patience):
                try:
                    while slow is None and not self._ended.is_set():
                        slow = self._round(leads=True)
                finally:
                    self._lead.release()
            elif self._stuck():
                while slow is None and (self._stuck() or self._forgotten()) and not self._ended.is_set():
                    slow = self._round(leads=False)
            if slow is not None:
                self._work(*slow)

    def _stuck(self) -> bool:
        busy = self._busy
        return busy is not None and time.monotonic() - busy > _STUCK_SECONDS

    def _forgotten(self) -> bool:
        """Whether this thread has taken in what the leader, who waits for events by now, does not know of."""
        return self._busy is None and bool(self._quick or (self._line and self._idle))

    def _round(self, leads: bool) -> Asked | None:
        """Takes in all there is and answers what is quick; returns a slow request that this thread is to answer, if any."""
        if (slow := self._slow()) is not None:
            return slow
        for number in range(_ROUND_EVENTS):
            event = self._queue.poll(0 if number or self._quick else time.time() + self._patience())
            if event.completion_type == cygrpc.CompletionType.queue_timeout:
                break
            if leads and not number:
                self._busy = time.monotonic()
            try:
                self._take(event)
            except Exception as error:  # of one call, which the core may have ended; the thread serves all
                _log.error("%s", where(error))
        event = None  # it holds a call
        slow = self._slow()
        self._refuse()
        self._answer_together(self._next_quick())
        if leads:
            self._busy = None
        return slow

    def _slow(self) -> Asked | None:
        """A slow request for this thread to answer; None where there is none or enough others answer."""
        with self._lock:
            if not (self._idle and self._line):
                return None
            self._idle -= 1
            return self._line.popleft()[1]

    def _above(self) -> tuple[int, float]:
        """The first place in the line above the limit, and how long who stands there may stay; for who holds the lock."""
        place = self._in_work - (self._workers - self._idle)
        if len(self._line) <= place:
            return place, _WAKE_SECONDS
        return place, max(0.0, self._line[place][0] + _LINE_SECONDS - time.monotonic())

    def _patience(self) -> float:
        """How long a thread may wait for what comes next."""
        with self._lock:
            return self._above()[1]

    def _refuse(self) -> None:
        """Ends those that have been above the limit for too long."""
        while self._line:
            with self._lock:
                place, left = self._above()
                if left:
                    return
                call, _ = self._line[place][1]
                del self._line[place]
            _send([(call, _EXHAUSTED)])

    def _next_quick(self) -> list[Asked]:
        """As many quick requests as are answered together."""
        found, expected = [], 0.0
        with self._lock:
            while self._quick and expected <= _BATCH_SECONDS:
                seconds, asked = self._quick.popleft()
                expected += seconds
                found.append(asked)
            self._quick_seconds = self._quick_seconds - expected if self._quick else 0.0
        return found

    def _take(self, event: Any) -> None:
        """Does what an event asks for; a request whose message is there goes into the line."""
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
        elif tag is not DONE and self._on_closed is not None:
            self._on_closed(tag)

    def _take_in(self, event: Any) -> None:
        method = self._methods.get(event.call_details.method)
        call = Call(event.call, method, event.call_details.deadline)
        if method is None:  # answered without waiting for a message
            return call.finish(ServingError(Code.UNIMPLEMENTED, ""))
        call.core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), call)

    def _message(self, call: Call, data: bytes | None) -> None:
        method = call.method
        assert method is not None
        if data is None:  # closed, cancelled, or larger than allowed: the core has told the client already
            call.finish(ServingError(Code.INTERNAL, ""))
        elif method.background:
            self._apart(call, data)
        elif not method.bounded:
            self._answer(call, method, data)
        else:
            self._line_up(call, data)

    def _line_up(self, call: Call, data: bytes) -> None:
        seconds = self._expected(call, data)
        with self._lock:
            if seconds >= _QUICK_SECONDS:
                return self._line.append((time.monotonic(), (call, data)))
            if self._quick_seconds < _QUICK_LINE_SECONDS:
                self._quick_seconds += seconds
                return self._quick.append((seconds, (call, data)))
        call.finish(_EXHAUSTED)

    def _expected(self, call: Call, data: bytes) -> float:
        """How long a request's answer takes, by those before it of about the same length."""
        if not self._together or call.method is None or call.method.stream is not None:
            return float("inf")
        return self._seconds.get((call.method.answer, len(data).bit_length()), float("inf"))

    def _work(self, call: Call, data: bytes) -> None:
        """Answers a request and those that came meanwhile."""
        while True:
            self._answer_safely(call, data)
            with self._lock:
                if not self._line:
                    self._idle += 1
                    return
                call, data = self._line.popleft()[1]

    def _answer_together(self, quick: list[Asked]) -> None:
        """Computes the answers, then sends them. Where they take longer than they should, the rest is slow."""
        ready: list[Answered] = []
        began = time.monotonic()
        left = _parts(quick)
        while left:
            part = left.pop(0)
            try:
                ready.extend(self._compute(part))
            except Exception as error:
                _log.error("%s", where(error))
                ready.extend((call, ServingError(Code.INTERNAL, "")) for call, _ in part)
            now = time.monotonic()
            if left and now - began > 2 * _BATCH_SECONDS:
                with self._lock:
                    self._line.extend((now, asked) for part in left for asked in part)
                break
        _send(ready)

    def _apart(self, call: Call, data: bytes) -> None:
        if not self._background.acquire(blocking=False):
            return call.finish(_EXHAUSTED)

        def work() -> None:
            self._answer_safely(call, data)
            self._background.release()

        try:
            threading.Thread(target=work, name="grpc-background", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._background.release()
            call.finish(_EXHAUSTED)

    def _answer_safely(self, call: Call, data: bytes) -> None:
        try:
            assert call.method is not None
            self._answer(call, call.method, data)
        except Exception as error:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(error))

    def _answer(self, call: Call, method: Method, data: bytes) -> None:
        ((_, answer),) = self._compute([(call, data)])
        if isinstance(answer, ServingError) or method.stream is None:
            return call.finish(answer)
        call.send(answer)
        method.stream(call)
        # Last: of a client that is gone already it says so at once, and nobody may be told before `stream` was.
        call.core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), call.core)

    def _compute(self, part: Sequence[Asked]) -> list[Answered]:
        """The answers to requests of one method, or what is wrong; remembers how long an answer took."""
        now, began, computed = time.time(), time.monotonic(), time.thread_time()
        requests = [(data, call.left(now)) for call, data in part]
        method = part[0][0].method
        assert method is not None
        answers: list[bytes | ServingError]
        if len(part) > 1 and method.together is not None:
            answers = method.together(requests)
        else:
            answers = [method.one(*request) for request in requests]
        seconds, clock = time.thread_time() - computed, time.monotonic() - began
        # Waiting for Python's lock beside a few other threads does not make an answer slow; other waiting does.
        if clock > max(_BATCH_SECONDS, _BLOCKED * seconds):
            seconds = clock
        answered = []
        for (call, data), answer in zip(part, answers, strict=True):
            if isinstance(answer, ServingError):
                if answer.code == Code.DEADLINE_EXCEEDED:  # in gRPC's words: the client may hear of it from here first
                    answer = ServingError(answer.code, "Deadline Exceeded")
            else:
                kind = method.answer, len(data).bit_length()
                before = self._seconds.get(kind, seconds / len(part))
                self._seconds[kind] = before + 0.2 * (seconds / len(part) - before)
            answered.append((call, answer))
        return answered


def _parts(quick: Iterable[Asked]) -> list[list[Asked]]:
    """Those that are answered together, not too many at a time; each other one by itself."""
    parts: dict[Any, list[Asked]] = {}
    for call, data in quick:
        assert call.method is not None
        parts.setdefault(call.method.together or call, []).append((call, data))
    return [part[at : at + _MOST_TOGETHER] for part in parts.values() for at in range(0, len(part), _MOST_TOGETHER)]


def _send(ready: list[Answered]) -> None:
    for call, answer in ready:
        try:
            call.finish(answer)
        except Exception as problem:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(problem))
