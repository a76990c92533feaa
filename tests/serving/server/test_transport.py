"""The two transports by themselves: threads, the line of those that wait, streams, and the end."""

import threading
import time

import grpc
import pytest

from tests.serving.server.embedded import free_port, wait_for
from tfb2d.serving.server import fast_transport, grpc_server
from tfb2d.serving.server.aio_transport import AioTransport
from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.fast_transport import FastTransport
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.transport import Method, Setup


def started(kinds):
    """A fixture's body: starts transports, of each kind in turn; gives each one's channel."""
    running = []

    def start(kind, methods, in_work=4, workers=2, on_closed=lambda stream: None, **more):
        server = kind(Setup(methods, in_work, workers, on_closed=on_closed), **more)
        port = free_port()
        assert server.bind(f"127.0.0.1:{port}", None)
        server.start()
        running.append((server, channel := grpc.insecure_channel(f"127.0.0.1:{port}")))
        return server, channel

    yield start
    for server, channel in running:
        channel.close()
        if server not in kinds:
            server.stop(5.0)


@pytest.fixture(params=[FastTransport, AioTransport], ids=["fast", "public"])
def kind(request):
    return request.param


@pytest.fixture
def stopped():
    """The transports that a test has stopped itself."""
    return []


@pytest.fixture
def launch(stopped):
    yield from started(stopped)


@pytest.fixture
def served(launch, kind):
    return lambda *arguments, **more: launch(kind, *arguments, **more)


@pytest.fixture
def fast(launch):
    return lambda *arguments, **more: launch(FastTransport, *arguments, **more)


def sleep(data, _):
    time.sleep(float(data))
    return b"done"


def compute(data, _):
    end = time.thread_time() + float(data)
    while time.thread_time() < end:
        pass
    return b"done"


def code(future):
    return future.code().name


def test_requests_wait_in_turn_and_one_more_is_refused(served):
    go, order = threading.Event(), []

    def answer(data, _):
        go.wait(20)
        order.append(data)
        return data

    _, channel = served({"/a": Method(answer), "/now": Method(lambda data, _: data, bounded=False)}, 4, 1)
    pending = []
    for index in range(4):
        pending.append(channel.unary_unary("/a").future(b"%d" % index, timeout=20))
        time.sleep(0.1)
    refused = channel.unary_unary("/a").future(b"x", timeout=20)
    assert (code(refused), refused.details()) == ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
    assert channel.unary_unary("/now")(b"!", timeout=20) == b"!"
    go.set()
    assert [future.result() for future in pending] == order == [b"0", b"1", b"2", b"3"]
    assert channel.unary_unary("/a")(b"!", timeout=20) == b"!"


@pytest.mark.parametrize(("answer", "seconds"), [(sleep, b"0.02"), (compute, b"0.0008")], ids=["slow", "quick"])
def test_a_flood_is_refused_by_the_servers_own_word(served, monkeypatch, answer, seconds):
    """Left in the core's own queue, requests above a thousand would be CANCELLED, and all others answered late."""
    monkeypatch.setattr(fast_transport, "MOST_QUICK", 20)
    _, channel = served({"/a": Method(answer)}, 4, 2)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(seconds, timeout=20)
    codes, room = [], threading.Semaphore(600)  # below what the core keeps, however slow this machine is
    for _ in range(1000):
        room.acquire()
        future = ask.future(seconds, timeout=60)
        future.add_done_callback(lambda done: (codes.append(code(done)), room.release()))
    wait_for(lambda: len(codes) == 1000, 60)
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert codes.count("OK") >= 4
    wait_for(lambda: code(ask.future(seconds, timeout=20)) == "OK")


def test_a_slow_answer_holds_up_nobody(served):
    _, channel = served({"/a": Method(sleep), "/b": Method(sleep)})
    slow, ask = channel.unary_unary("/a"), channel.unary_unary("/b")
    for _ in range(2):
        slow(b"0.0", timeout=20)
        ask(b"0.0", timeout=20)
    pending = slow.future(b"3.0", timeout=20)
    time.sleep(0.05)
    began = time.monotonic()
    for _ in range(10):
        ask(b"0.0", timeout=20)
    assert time.monotonic() - began < 2
    assert pending.result() == b"done"


def test_errors(served, caplog):
    """A deadline is told in gRPC's words; what nobody foresaw costs its request alone, and its text is not logged."""

    def answer(data, seconds):
        if data == b"late":
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for something")
        if data == b"long":
            raise StatusError(Code.INVALID_ARGUMENT, "x" * 2000)
        if data == b"bad":
            raise RuntimeError("a secret")
        return data

    _, channel = served({"/a": Method(answer), "/b": Method(answer, background=True, bounded=False)}, 2, 1)

    def ask(data, path="/a"):
        future = channel.unary_unary(path).future(data, timeout=20)
        return code(future), future.details()

    assert ask(b"late") == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert ask(b"long") == ("INVALID_ARGUMENT", "x" * 1024 + "...TRUNCATED")
    assert ask(b"", "/nowhere") == ("UNIMPLEMENTED", "")
    for path in ("/a", "/b"):
        for _ in range(3):
            channel.unary_unary(path).future(b"bad", timeout=0.3).code()
        wait_for(lambda path=path: ask(b"good", path)[0] == "OK")
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_seconds_left(served):
    seen = []

    def answer(data, seconds):
        seen.append(seconds)
        return data

    _, channel = served({"/a": Method(answer)})
    channel.unary_unary("/a")(b"", timeout=20)
    channel.unary_unary("/a")(b"")
    assert 10 < seen[0] < 21  # clocks differ a little
    assert seen[1] is None


def test_calls_without_a_message_take_no_thread(served):
    held = threading.Event()

    def never():
        held.wait(20)
        yield b""

    _, channel = served({"/a": Method(lambda data, _: data)}, 2, 1)
    pending = [channel.stream_unary("/a").future(never(), timeout=30) for _ in range(20)]
    time.sleep(0.3)
    for _ in range(20):
        assert channel.unary_unary("/a")(b"!", timeout=10) == b"!"
    assert not any(future.done() for future in pending)
    held.set()


@pytest.mark.parametrize("grace", [10.0, 0.3])
def test_a_request_whose_client_is_gone_ends_in_peace(served, stopped, grace):
    """The core aborts the process where an answer is begun on a queue that was shut down."""
    server, channel = served({"/a": Method(sleep)})
    pending = [channel.unary_unary("/a").future(b"0.8", timeout=20) for _ in range(3)]
    time.sleep(0.3)
    if grace > 1:
        channel.close()
    began = time.monotonic()
    stopped.append(server)
    server.stop(grace)
    assert time.monotonic() - began < 8
    assert "OK" not in {code(future) for future in pending}
    time.sleep(0.8)  # the threads end, too


def test_requests_that_are_there_when_the_server_stops_are_answered(served, stopped, caplog):
    server, channel = served({"/a": Method(sleep)}, 64)
    channel.unary_unary("/a")(b"0", timeout=20)
    pending = [channel.unary_unary("/a").future(b"0.01", timeout=20) for _ in range(30)]
    time.sleep(0.1)
    stopped.append(server)
    server.stop(20.0)
    codes = [code(future) for future in pending]
    assert set(codes) <= {"OK", "UNAVAILABLE", "CANCELLED"}  # the last: the core's word to those that came in meanwhile
    assert codes.count("OK") >= 3
    assert caplog.text == ""


def test_streams(served):
    """A Watch call has its first answer, stays open, and is ended; one whose client leaves is forgotten."""
    opened = []
    method = Method(lambda *_: b"1", bounded=False, stream=opened.append)
    _, channel = served({"/w": method}, on_closed=opened.remove)
    first, second = (channel.unary_stream("/w")(b"", timeout=20) for _ in range(2))
    assert [next(first), next(second)] == [b"1", b"1"]
    wait_for(lambda: len(opened) == 2)
    first.cancel()
    wait_for(lambda: len(opened) == 1)
    opened[0].end(b"2")
    assert list(second) == [b"2"]
    wait_for(lambda: not opened)


def test_a_watch_that_comes_while_the_server_drains_is_ended():
    class Stream:
        sent = ()

        def end(self, data):
            self.sent = (*self.sent, data)

    health, stream = Health(), Stream()
    health.stop()
    health.watch(stream)
    health.stop()
    assert stream.sent == (b"\x08\x02",)  # NOT_SERVING


# What only the fast one does


def test_requests_that_seemed_quick_are_shared_out(fast):
    _, channel = fast({"/a": Method(sleep)}, 64, 4)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(b"0.0", timeout=20)
    began = time.monotonic()
    pending = [ask.future(b"0.3", timeout=20) for _ in range(8)]
    assert {future.result() for future in pending} == {b"done"}
    assert time.monotonic() - began < 8 * 0.3 - 0.5


def test_quick_answers_of_a_method_are_computed_together(fast):
    sizes = []

    def answer(data, _):
        return data * 2

    def together(requests):
        sizes.append(len(requests))
        bad = StatusError(Code.INVALID_ARGUMENT, "no")
        return [bad if data == b"07" else answer(data, seconds) for data, seconds in requests]

    _, channel = fast({"/a": Method(answer, together=together), "/b": Method(answer)}, 8)
    for path in ("/a", "/b"):
        channel.unary_unary(path)(b"00", timeout=20)  # how long it takes is known from here on
    for _ in range(50):
        requests = [("/b" if index % 5 == 4 else "/a", b"%02d" % index) for index in range(20)]
        pending = [(data, channel.unary_unary(path).future(data, timeout=20)) for path, data in requests]
        codes = {data: code(future) for data, future in pending}
        assert codes.pop(b"07") in ("OK", "INVALID_ARGUMENT")  # alone, or with others
        assert set(codes.values()) == {"OK"}
        assert all(future.result() == data * 2 for data, future in pending if data != b"07")
    assert max(sizes) > 1


def test_answers_that_wait_for_others_have_a_thread_each(fast):
    both = threading.Barrier(2)

    def answer(data, _):
        if data == b"2":
            both.wait(20)
        return data

    _, channel = fast({"/a": Method(answer)}, quick=False)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(b"1", timeout=20)
    pending = [ask.future(b"2", timeout=20) for _ in range(2)]
    assert [future.result() for future in pending] == [b"2", b"2"]


@pytest.mark.parametrize("broken", ["start", "bind"])
def test_a_grpcio_that_has_changed_costs_speed_and_not_service(monkeypatch, caplog, broken):
    """The fast transport answers a call before it is chosen; one log line says why it is not."""

    def changed(*_):
        raise TypeError("takes 3 positional arguments but 2 were given")

    def make(**flags):
        server = grpc_server.make_transport(Options(**flags), Setup({}, in_work=4, workers=2))
        server.bind(f"127.0.0.1:{free_port()}", None)
        server.start()
        server.stop(1.0)
        return type(server)

    assert make() is FastTransport
    assert make(accelerate=False) is AioTransport
    caplog.clear()
    monkeypatch.setattr(fast_transport, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(FastTransport, broken, changed)
    assert make() is AioTransport
    assert caplog.text.count("gRPC runs on grpcio's public server, which is slower") == 1
