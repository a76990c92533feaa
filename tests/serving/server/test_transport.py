"""The transport by itself: threads, the line of those that wait, and the end."""

import threading
import time
from types import SimpleNamespace

import grpc
import pytest
from embedded import free_port, wait_for

from tfb2d.serving.server import transport
from tfb2d.serving.server.call import Method
from tfb2d.serving.server.errors import Code, ServingError
from tfb2d.serving.server.health import Health
from tfb2d.serving.server.transport import Transport


@pytest.fixture
def served():
    """Starts transports; gives each one's channel."""
    started = []

    def start(methods, in_work=4, workers=2, on_closed=None, together=True):
        one = Transport(methods, in_work, workers, [], on_closed, together)
        port = free_port()
        assert one.bind(f"127.0.0.1:{port}", None)
        one.start()
        started.append((one, channel := grpc.insecure_channel(f"127.0.0.1:{port}")))
        return one, channel

    yield start
    for one, channel in started:
        channel.close()
        if not one._ended.is_set():
            one.stop(5.0)


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


def test_those_that_wait_are_answered_in_turn_and_one_more_is_refused(served):
    go, order = threading.Event(), []

    def answer(data, _):
        go.wait(20)
        order.append(data)
        return data

    one, channel = served({"/a": Method(answer), "/now": Method(lambda data, _: data, bounded=False)}, 4, 1)
    pending = []
    for number in range(4):
        pending.append(channel.unary_unary("/a").future(b"%d" % number, timeout=20))
        wait_for(lambda number=number: not one._idle and len(one._line) == number)
    refused = channel.unary_unary("/a").future(b"x", timeout=20)
    assert code(refused) == "RESOURCE_EXHAUSTED"
    assert channel.unary_unary("/now")(b"!", timeout=20) == b"!"
    go.set()
    assert [future.result() for future in pending] == order == [b"0", b"1", b"2", b"3"]
    wait_for(lambda: one._idle == 1 and not one._line)


@pytest.mark.parametrize("seconds", [b"0.02", b"0.0008"])  # slow, quick
def test_a_flood_is_refused_by_the_servers_own_word(served, monkeypatch, seconds):
    """Left in the core's own queue, those above a thousand would be CANCELLED, and all others answered late."""
    monkeypatch.setattr(transport, "_QUICK_LINE_SECONDS", 0.02)
    one, channel = served({"/a": Method(compute)}, 4, 2)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(seconds, timeout=20)
    codes, room = [], threading.Semaphore(600)  # below what the core keeps, however slow this machine is
    for _ in range(3000):
        room.acquire()
        future = ask.future(seconds, timeout=60)
        future.add_done_callback(lambda done: (codes.append(code(done)), room.release()))
    wait_for(lambda: len(codes) == 3000, 60)
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert codes.count("OK") >= 4
    assert ask(seconds, timeout=20) == b"done"
    wait_for(lambda: one._idle == 2 and not one._line and not one._quick)
    assert one._quick_seconds == 0


def test_one_in_the_line_is_answered_as_soon_as_a_turn_is_free(served, monkeypatch):
    monkeypatch.setattr(transport, "_LINE_SECONDS", 5.0)
    one, channel = served({"/a": Method(sleep)}, 2, 1)
    ask = channel.unary_unary("/a")
    pending = [ask.future(b"0.3", timeout=20) for _ in range(2)]
    wait_for(lambda: not one._idle and len(one._line) == 1)
    started = time.monotonic()
    assert ask(b"0.0", timeout=20) == b"done"
    assert time.monotonic() - started < 2
    assert {future.result() for future in pending} == {b"done"}


def test_quick_answers_are_sent_together(served, monkeypatch):
    sent = []
    send = transport._send

    def watched(ready):
        sent.append(len(ready))
        send(ready)

    monkeypatch.setattr(transport, "_send", watched)
    one, channel = served({"/a": Method(lambda data, _: data * 2)}, 8)
    channel.unary_unary("/a")(b"00", timeout=20)  # how long it takes is known from here on
    wait_for(lambda: one._idle == 2)
    pending = [channel.unary_unary("/a").future(b"%02d" % (number % 100), timeout=20) for number in range(500)]
    assert [future.result() for future in pending] == [b"%02d" % (number % 100) * 2 for number in range(500)]
    assert max(sent) > 1
    assert not one._quick


@pytest.mark.parametrize("bounded", [True, False])
def test_a_quick_answer_that_takes_long_holds_up_nobody_for_long(served, bounded):
    one, channel = served({"/a": Method(sleep, bounded), "/b": Method(sleep)})
    slow, ask = channel.unary_unary("/a"), channel.unary_unary("/b")
    for _ in range(2):
        slow(b"0.0", timeout=20)
        ask(b"0.0", timeout=20)
    pending = slow.future(b"4.0", timeout=20)
    time.sleep(0.05)
    started = time.monotonic()
    for _ in range(10):
        ask(b"0.0", timeout=20)
    assert time.monotonic() - started < 2
    one.stop(0.5)
    assert time.monotonic() - started < 3.5
    assert code(pending) != "OK"


def test_requests_that_were_taken_for_quick_are_shared_out(served):
    _, channel = served({"/a": Method(sleep)}, 64, 4)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(b"0.0", timeout=20)
    started = time.monotonic()
    pending = [ask.future(b"0.3", timeout=20) for _ in range(8)]
    assert {future.result() for future in pending} == {b"done"}
    assert time.monotonic() - started < 8 * 0.3 - 0.5


def test_who_waits_is_not_quick_and_errors_say_nothing_of_answers(served):
    def answer(data, _):
        if data == b"bad":
            raise ServingError(Code.INVALID_ARGUMENT, "no")
        time.sleep(0.005)
        return data

    one, channel = served({"/a": Method(answer)})
    ask = channel.unary_unary("/a")
    for _ in range(5):
        assert code(ask.future(b"bad", timeout=20)) == "INVALID_ARGUMENT"
    assert not one._seconds
    ask(b"any", timeout=20)
    for _ in range(20):
        assert code(ask.future(b"bad", timeout=20)) == "INVALID_ARGUMENT"
    assert min(one._seconds.values()) > transport._QUICK_SECONDS


def test_quick_answers_of_a_method_are_computed_together(served):
    sizes = []

    def answer(data, _):
        return data * 2

    def together(requests):
        sizes.append(len(requests))
        bad = ServingError(Code.INVALID_ARGUMENT, "no")
        return [bad if data == b"07" else answer(data, seconds) for data, seconds in requests]

    one, channel = served({"/a": Method(answer, together=together), "/b": Method(answer)}, 8)
    for path in ("/a", "/b"):
        channel.unary_unary(path)(b"00", timeout=20)  # how long it takes is known from here on
    wait_for(lambda: one._idle == 2)
    for _ in range(50):
        asked = [("/b" if number % 5 == 4 else "/a", b"%02d" % number) for number in range(20)]
        pending = [(data, channel.unary_unary(path).future(data, timeout=20)) for path, data in asked]
        told = {data: code(future) for data, future in pending}
        assert told.pop(b"07") in ("OK", "INVALID_ARGUMENT")  # alone, or with others
        assert set(told.values()) == {"OK"}
        assert all(future.result() == data * 2 for data, future in pending if data != b"07")
    assert max(sizes) > 1


def test_a_deadline_is_told_in_the_words_of_grpc(served):
    """Whichever of client and server sees it first."""

    def answer(data, seconds):
        raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for something")

    _, channel = served({"/a": Method(answer)})
    told = channel.unary_unary("/a").future(b"", timeout=20)
    assert (code(told), told.details()) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")


def test_answers_that_wait_for_others_have_a_thread_each(served):
    both = threading.Barrier(2)

    def answer(data, _):
        if data == b"2":
            both.wait(20)
        return data

    _, channel = served({"/a": Method(answer)}, together=False)
    ask = channel.unary_unary("/a")
    for _ in range(3):
        ask(b"1", timeout=20)
    pending = [ask.future(b"2", timeout=20) for _ in range(2)]
    assert [future.result() for future in pending] == [b"2", b"2"]


def test_an_answer_that_fails_costs_its_request_alone(served):
    def answer(data, _):
        if data == b"bad":
            raise RuntimeError(data)
        return data

    one, channel = served({"/a": Method(answer), "/b": Method(answer, background=True)}, 2, 1)
    for path in ("/a", "/b"):
        bad = [channel.unary_unary(path).future(b"bad", timeout=20) for _ in range(2)]
        assert {code(future) for future in bad} <= {
            "CANCELLED",
            "UNKNOWN",
            "RESOURCE_EXHAUSTED",
            "UNAVAILABLE",
            "INTERNAL",
        }
        assert channel.unary_unary(path)(b"good", timeout=20) == b"good"
    wait_for(lambda: one._idle == 1 and not one._line and one._background._value == 16)


def test_no_thread_left_for_what_takes_long(served, monkeypatch):
    one, channel = served({"/b": Method(sleep, background=True)})

    def none_left(**_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(transport, "threading", SimpleNamespace(Thread=none_left))
    assert code(channel.unary_unary("/b").future(b"0", timeout=20)) == "RESOURCE_EXHAUSTED"
    assert one._background._value == 16


@pytest.mark.parametrize("grace", [10.0, 0.3])
def test_a_request_whose_client_is_gone_ends_in_peace(served, grace):
    """The core aborts the process where an answer is begun on a queue that was shut down."""
    one, channel = served({"/a": Method(sleep)})
    pending = [channel.unary_unary("/a").future(b"0.8", timeout=20) for _ in range(3)]
    wait_for(lambda: one._line)
    if grace > 1:
        channel.close()
    started = time.monotonic()
    one.stop(grace)
    assert time.monotonic() - started < 8
    assert "OK" not in {code(future) for future in pending}
    wait_for(lambda: one._idle == 2)
    assert not one._line


def test_what_came_in_before_the_end_is_answered(served, caplog):
    one, channel = served({"/a": Method(sleep)}, 64)
    channel.unary_unary("/a")(b"0", timeout=20)
    pending = [channel.unary_unary("/a").future(b"0.01", timeout=20) for _ in range(30)]
    wait_for(lambda: one._line)
    one.stop(20.0)
    codes = [code(future) for future in pending]
    assert set(codes) <= {"OK", "UNAVAILABLE", "CANCELLED"}  # the last: the core's word to those that came in meanwhile
    assert codes.count("OK") >= 3
    assert caplog.text == ""


def test_a_stream_whose_client_leaves_at_once_is_forgotten(served):
    held = []

    def keep(call):
        time.sleep(0.2)
        held.append(call.core)

    _, channel = served({"/w": Method(lambda *_: b"1", bounded=False, stream=keep)}, on_closed=held.remove)
    watch = channel.unary_stream("/w")(b"", timeout=20)
    assert next(watch) == b"1"
    watch.cancel()
    time.sleep(0.3)
    wait_for(lambda: not held)


def test_a_watch_that_comes_while_the_server_drains_is_ended():
    sent = []
    call = SimpleNamespace(core=object(), end=sent.append)
    health = Health()
    health.stop()
    health.watch(call)
    assert sent == [b"\x08\x02"]  # NOT_SERVING
    assert not health._watchers
