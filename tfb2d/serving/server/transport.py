"""A unary gRPC server on grpcio's core: threads that take calls in, answer, and take calls in again.

`grpc.server` hands every call from its polling thread to a pool, where a thread waits for the request's message; this costs
three times the processor time (317 against 105 us a call, measured for an echo), and clients that never send their message
take the pool's threads. Here a thread sees a call only when its message is there.

One thread at a time, the leader, takes calls in: all that are there. Those whose answers are known to be quick it computes
together, in one run where the method can, else one after the other, and then sends all of them: between two sends of an
answer each, a student's 24 us become 90, since the network's code drives the graph's out of the cache. For what is slow or
not known yet it gives the lead away and computes beside the next leader; few threads do so, and what comes meanwhile waits.
(Of 100 texts a request, 4 of them answered 40% more than 64, which fight over Python's lock.)

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
_TURN_SECONDS = 0.05  # a burst just above the limit is served, not refused
_MAX_BACKGROUND = 16  # calls that may block for long
_WAKE_SECONDS = 0.5  # how often a thread looks whether it is over
_QUICK_SECONDS = 0.001  # of processor time: an answer that is expected to take less is quick
_BATCH_SECONDS = 0.002  # of answers that wait to be sent together
_BLOCKED = 16  # times its processor time: an answer that takes longer by the clock waits for something
_ROUND_EVENTS = 128  # taken in before what is quick is answered; a call is three
_STUCK_SECONDS = 0.1  # a leader that is busy for so long is no leader

_NEW, _SHUTDOWN = object(), object()
Asked = tuple[Call, bytes]  # a request whose message is there
Answered = tuple[Call, bytes | ServingError]


class Transport:
    """Listens from `start` to `stop`.

    Args:
      methods: path -> method; other paths are UNIMPLEMENTED.
      in_work: requests taken in at once; one more waits a moment, then is RESOURCE_EXHAUSTED.
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
        self._turns = threading.Semaphore(in_work)
        self._patient = True
        self._background = threading.Semaphore(_MAX_BACKGROUND)
        self._on_closed = on_closed
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(settings), False)
        self._server.register_completion_queue(self._queue)
        self._ended = threading.Event()
        self._idle = min(workers, in_work)
        self._waiting: deque[Asked] = deque()
        self._lock = threading.Lock()  # of these two
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
                self._waiting.clear()
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
            else:
                while slow is None and self._stuck() and not self._ended.is_set():
                    slow = self._round(leads=False)
            if slow is not None:
                self._work(*slow)

    def _stuck(self) -> bool:
        busy = self._busy
        return busy is not None and time.monotonic() - busy > _STUCK_SECONDS

    def _round(self, leads: bool) -> Asked | None:
        """Takes in all there is and answers what is quick; returns a slow request that this thread is to answer, if any."""
        if self._waiting and (waiting := self._next()) is not None:
            return waiting
        quick: list[Asked] = []
        slow, expected = None, 0.0
        for number in range(_ROUND_EVENTS):
            event = self._queue.poll(0 if number else time.time() + _WAKE_SECONDS)
            if event.completion_type == cygrpc.CompletionType.queue_timeout:
                break
            if leads and not number:
                self._busy = time.monotonic()
            try:
                found = self._take(event, quick)
            except Exception as error:  # of one call, which the core may have ended; the thread serves all
                _log.error("%s", where(error))
                found = None
            if found is not None:
                seconds = self._expected(*found)
                if seconds < _QUICK_SECONDS:
                    quick.append(found)
                    expected += seconds
                elif self._is_mine(*found):
                    slow = found
                if slow is not None or expected > _BATCH_SECONDS:
                    break
        event = None  # it holds a call
        self._answer_together(quick)
        if leads:
            self._busy = None
        return slow

    def _next(self) -> Asked | None:
        """A request that waits, for this thread to answer; None where enough others answer."""
        with self._lock:
            if not (self._waiting and self._idle):
                return None
            self._idle -= 1
            return self._waiting.popleft()

    def _take(self, event: Any, quick: list[Asked]) -> Asked | None:
        """What an event asks for: a request to answer, which has its turn, or nothing more."""
        tag = event.tag
        if tag is _NEW:
            if event.success:
                with contextlib.suppress(ValueError):  # it stops, and this call came in before
                    self._request()
                self._take_in(event)
        elif tag is _SHUTDOWN:
            self._ended.set()
        elif isinstance(tag, Call):
            return self._message(tag, event.batch_operations[0].message(), quick)
        elif tag is not DONE and self._on_closed is not None:
            self._on_closed(tag)
        return None

    def _take_in(self, event: Any) -> None:
        method = self._methods.get(event.call_details.method)
        call = Call(event.call, method, event.call_details.deadline)
        if method is None:  # answered without waiting for a message
            return call.finish(ServingError(Code.UNIMPLEMENTED, ""))
        call.core.start_server_batch((cygrpc.ReceiveMessageOperation(0),), call)

    def _message(self, call: Call, data: bytes | None, quick: list[Asked]) -> Asked | None:
        method = call.method
        assert method is not None
        if data is None:  # closed, cancelled, or larger than allowed: the core has told the client already
            call.finish(ServingError(Code.INTERNAL, ""))
        elif method.background:
            self._apart(call, data)
        elif not method.bounded:
            self._answer(call, method, data)
        elif self._turns.acquire(blocking=False):
            return call, data
        else:
            self._answer_together(quick)  # they have turns
            if self._turn():
                return call, data
            call.finish(ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))
        return None

    def _expected(self, call: Call, data: bytes) -> float:
        """How long a request's answer takes, by those before it of about the same length."""
        if not self._together or call.method is None or call.method.stream is not None:
            return float("inf")
        return self._seconds.get((call.method.answer, len(data).bit_length()), float("inf"))

    def _is_mine(self, call: Call, data: bytes) -> bool:
        """Whether this thread is to answer a slow request: not where enough others do so, for whom it then waits."""
        with self._lock:
            if not self._idle:
                self._waiting.append((call, data))
                return False
            self._idle -= 1
        return True

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

    def _answer_together(self, quick: list[Asked]) -> None:
        """Computes the answers, then sends them; leaves the list empty.

        Where they take longer than they should, the rest waits for whoever is idle.
        """
        ready: list[Answered] = []
        began = time.monotonic()
        left = _parts(quick)
        while left:
            part = left.pop(0)
            try:
                ready.extend(self._compute(part))
            except Exception as error:
                _log.error("%s", where(error))
            self._turns.release(len(part))
            if left and time.monotonic() - began > 2 * _BATCH_SECONDS:
                with self._lock:
                    self._waiting.extend(asked for part in left for asked in part)
                break
        _send(ready)
        quick.clear()

    def _turn(self) -> bool:
        got = self._turns.acquire(timeout=_TURN_SECONDS if self._patient else 0)
        self._patient = got  # while all others are stuck, refusing must not take time
        return got

    def _apart(self, call: Call, data: bytes) -> None:
        if not self._background.acquire(blocking=False):
            return call.finish(ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))

        def work() -> None:
            self._answer_safely(call, data)
            self._background.release()

        try:
            threading.Thread(target=work, name="grpc-background", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._background.release()
            call.finish(ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))

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
    """Those that are answered together; each other one by itself."""
    parts: dict[Any, list[Asked]] = {}
    for call, data in quick:
        assert call.method is not None
        parts.setdefault(call.method.together or call, []).append((call, data))
    return list(parts.values())


def _send(ready: list[Answered]) -> None:
    for call, answer in ready:
        try:
            call.finish(answer)
        except Exception as problem:  # of one call, which the core may have ended meanwhile
            _log.error("%s", where(problem))
    ready.clear()
