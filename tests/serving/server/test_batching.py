"""Server-side batching by itself, with a run that notes what it was given."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfb2d.serving.server.batching import Batcher
from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.textprotos import BatchingParameters, read_batching


class Run:
    """Doubles its rows; keeps the sizes of the batches."""

    def __init__(self, seconds=0.0):
        self.sizes, self.seconds = [], seconds

    def __call__(self, feeds, fetches, seconds):
        self.sizes.append(len(feeds["x"]))
        time.sleep(self.seconds)
        return [feeds["x"] * 2 for _ in fetches]


@pytest.fixture
def batching():
    made = []

    def make(run, **parameters):
        made.append(Batcher(BatchingParameters(**parameters), lambda seconds, rows: None))
        return made[-1].wrap(run)

    yield make
    for batcher in made:
        batcher.stop()


def rows(*values):
    return {"x": np.array(values, np.float32)}


def test_concurrent_requests_share_a_batch_and_get_their_own_rows(batching):
    run = Run()
    batched = batching(run, max_batch_size=8, batch_timeout_micros=200_000, num_batch_threads=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: batched(rows(n, n + 0.5), ("y",), 5.0)[0].tolist(), range(4)))
    assert answers == [[2 * n, 2 * n + 1] for n in range(4)]
    assert run.sizes == [8]


def test_an_idle_server_runs_a_request_in_its_own_thread_and_counts_it(batching):
    """At most num_batch_threads batches at once, those in their requests' own threads included."""
    where, at_once, most, lock = [], [0], [0], threading.Lock()

    def run(feeds, fetches, seconds):
        with lock:
            where.append(threading.current_thread().name)
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        with lock:
            at_once[0] -= 1
        return [feeds["x"]]

    batched = batching(run, max_batch_size=4, num_batch_threads=2, max_enqueued_batches=100)
    assert batched(rows(1), ("y",), 5.0)[0].tolist() == [1]
    assert where == [threading.current_thread().name]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: batched(rows(n), ("y",), 20.0)[0].tolist(), range(40)))
    assert answers == [[n] for n in range(40)]
    assert most == [2]
    assert any(name.startswith("batch-") for name in where)


def test_different_fetches_do_not_mix(batching):
    run = Run()
    batched = batching(run, max_batch_size=8, batch_timeout_micros=20_000, num_batch_threads=1)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda fetch: batched(rows(1), (fetch,), 5.0), ["y", "s"]))
    assert run.sizes == [1, 1]


def test_padding_to_allowed_sizes(batching):
    run = Run()
    batched = batching(run, max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert batched(rows(1, 2, 3), ("y",), None)[0].tolist() == [2, 4, 6]
    assert run.sizes == [4]


def test_large_requests_are_split(batching):
    run = Run()
    settings = {"enable_large_batch_splitting": True, "max_batch_size": 10, "max_execution_batch_size": 4}
    batched = batching(run, **settings)
    assert batched(rows(*range(10)), ("y",), 5.0)[0].tolist() == [2 * n for n in range(10)]
    assert sorted(run.sizes) == [2, 4, 4]
    with pytest.raises(StatusError, match="Task size 11 is larger than maximum input batch size 10"):
        batched(rows(*range(11)), ("y",), 5.0)


def test_variable_lengths_are_padded_where_asked(batching):
    seen = []

    def run(feeds, fetches, seconds):
        seen.append(feeds["x"].tolist())
        return [feeds["x"][:, :1]]

    settings = {"max_batch_size": 3, "batch_timeout_micros": 500_000, "pad_variable_length_inputs": True}
    batched = batching(run, **settings)
    feeds = [{"x": np.array([[b"a"], [b"d"]], object)}, {"x": np.array([[b"b", b"c"]], object)}]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda feed: batched(feed, ("y",), 5.0), feeds))
    assert sorted(seen[0]) == [[b"a", b"a"], [b"b", b"c"], [b"d", b"a"]]  # with the tensor's first element


def test_a_request_out_of_time_leaves_the_batch(batching):
    run = Run(0.3)
    batched = batching(run, max_batch_size=1, num_batch_threads=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batched, rows(1), ("y",), 5.0)
        time.sleep(0.05)
        with pytest.raises(StatusError) as error:
            batched(rows(2), ("y",), 0.05)
        assert error.value.code == Code.DEADLINE_EXCEEDED
        assert first.result()[0].tolist() == [2]


def test_a_failing_run_fails_its_batch_and_not_the_next(batching):
    calls = []

    def run(feeds, fetches, seconds):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a text that clients must not see")
        return [feeds["x"]]

    batched = batching(run, max_batch_size=1, num_batch_threads=1)
    with pytest.raises(StatusError) as error:
        batched(rows(1), ("y",), 5.0)
    assert (error.value.code, "clients" in error.value.message) == (Code.INTERNAL, False)
    assert batched(rows(3), ("y",), 5.0)[0].tolist() == [3]


def test_threads_end():
    before = set(threading.enumerate())
    batcher = Batcher(BatchingParameters(num_batch_threads=3), lambda seconds, rows: None)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    batcher.stop()
    for thread in started:
        thread.join(5)
        assert not thread.is_alive()


def test_the_parameters_file(tmp_path):
    file = tmp_path / "batching.config"
    file.write_text(
        'max_batch_size { value: 32 }\nthread_pool_name { value: "p" }\nallowed_batch_sizes: 8\nallowed_batch_sizes: 32\n'
    )
    read = read_batching(str(file))
    assert read == BatchingParameters(max_batch_size=32, allowed_batch_sizes=(8, 32))
    read.check()
    with pytest.raises(StatusError, match="monotonically"):
        BatchingParameters(allowed_batch_sizes=(3, 2)).check()
    with pytest.raises(StatusError, match="NOT_FOUND"):
        read_batching(str(tmp_path / "none"))
