"""Timing: what is counted, and processes that are pinned, answer, and say why they could not."""

import os
import time

import numpy as np
import pytest

from tfb2d.bench.measure import BenchError, Costs, Timing, Worker, cores, middle, result, time_calls


class Recorder:
    """A system that remembers its calls; of tests of the worker."""

    def __init__(self, size: int = 3) -> None:
        self.about = {"file_mb": 1.5}
        self.size = size
        self.calls: list[str] = []

    def score(self, *columns: list[str]) -> np.ndarray:
        self.calls += [columns[0][0]]
        time.sleep(0.002)
        return np.full(len(columns[0]), 0.25, np.float32)

    def held(self) -> list[str]:
        return self.calls

    def cores_and_pools(self) -> list[object]:
        return [sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"]]

    def fill(self, megabytes: int) -> None:
        np.ones(megabytes * 125_000).sum()

    def fail(self) -> None:
        raise ValueError("no such colour")

    def die(self) -> None:
        os._exit(7)


def test_calls_are_timed_and_warm_up_is_not() -> None:
    calls: list[int] = []

    def call(number: int, _: str) -> None:
        calls.append(number)
        time.sleep(0.001)

    timing = time_calls(call, [(i, "") for i in range(3)], 5, seconds=0.03, warmup=0.004)
    assert timing.rows == 5 * timing.calls < 5 * len(calls)
    assert calls == [i % 3 for i in range(len(calls))]  # the inputs, round and round
    assert 1000 < timing.p50_us <= timing.p99_us
    assert timing.seconds >= 0.9 * timing.calls * 0.001
    assert timing.rows_per_s == pytest.approx(timing.rows / timing.seconds)
    assert timing.cpu_s_per_million == pytest.approx(timing.cpu_seconds / timing.rows * 1e6)
    calls.clear()
    assert time_calls(call, [(9, "")], 1, seconds=0.0, least=2, warmup=0.0).calls == 2
    assert calls == [9, 9]


def test_middle_is_the_median_of_rounds() -> None:
    rounds = [Timing(1, 2, 1.0, 0.5, p50, 9.0, 10.0, peak) for p50, peak in ((5.0, 1.0), (90.0, 7.0), (6.0, 3.0))]
    timing = middle(rounds)
    assert (timing.p50_us, timing.peak_mb, timing.calls, timing.rows, timing.cpu_seconds) == (6.0, 7.0, 3, 6, 1.5)


def test_costs_follow_from_cpu_seconds() -> None:
    timing = Timing(10, 1000, 1.0, 3.6, 1.0, 2.0, 1000.0, 50.0)
    entry = result("s", "t", "rank", 1, timing, file_mb=2.0, costs=Costs(watts=10.0, price=0.5))
    assert entry["cpu_s_per_million"] == pytest.approx(3600)
    assert entry["wh_per_million"] == pytest.approx(10)
    assert entry["cost_per_million"] == pytest.approx(0.5)
    assert entry["accuracy"] is None
    assert result("s", "t", 1, 1, None)["cost_per_million"] is None


def test_worker_is_pinned_and_answers() -> None:
    place = f"{__name__}:Recorder"
    with Worker(1) as worker:
        about = worker.open(place, size=4)
        assert about["file_mb"] == 1.5
        assert worker.call("cores_and_pools") == [cores(1), "1", "false"]
        timing = worker.time("score", [[["a"]], [["b"]]], 1, seconds=0.0, least=4, warmup=0.0)
        assert timing.calls == 4
        assert timing.p50_us > 2000
        assert worker.call("held") == ["a", "b", "a", "b"]
        assert worker.call("score", ["x", "y"]) == [0.25, 0.25]
        small = worker.time("fill", [[1]], 1, seconds=0.0, least=1)
        large = worker.time("fill", [[150]], 1, seconds=0.0, least=1)
        assert large.peak_mb > small.peak_mb + 100
        assert worker.time("fill", [[1]], 1, seconds=0.0, least=1).peak_mb < large.peak_mb  # it is of this call alone
        with pytest.raises(BenchError, match="no such colour"):
            worker.call("fail")
        assert worker.call("score", ["z"]) == [0.25]
        with pytest.raises(BenchError, match=r"ended \(7\)"):
            worker.call("die")


def test_more_cores_than_there_are() -> None:
    with pytest.raises(BenchError, match="may use"):
        cores(100_000)
