import time

import pytest

from tfb2d.evaluation.latency import measure


def test_it_times_single_rows_and_batches() -> None:
    sizes: list[int] = []

    def score(columns: list[list[str]]) -> None:
        assert len({len(column) for column in columns}) == 1
        sizes.append(len(columns[0]))
        time.sleep(0.001 if len(columns[0]) == 1 else 0.01)

    figures = measure(score, [["a", "b", "c"], ["d", "e", "f"]], rows=40, warmup=10, batch=16)
    assert sizes == [1] * 50 + [16] * 7
    assert 1 <= figures["single_ms"]["p50"] <= figures["single_ms"]["p99"]
    assert figures["batch_ms"]["p50"] >= 10
    assert figures["batch_rows"] == 16
    assert figures["rows_per_second"] == pytest.approx(16 / figures["batch_ms"]["p50"] * 1000)


def test_the_first_calls_do_not_count() -> None:
    calls = iter(range(1000))
    figures = measure(lambda _: time.sleep(0.2 if next(calls) < 1 else 0), [["a"]], rows=20, warmup=1, batch=2)
    assert figures["single_ms"]["p99"] < 100


@pytest.mark.parametrize(("columns", "rows"), [([], 5), ([[]], 5), ([["a"]], 0)])
def test_there_must_be_something_to_time(columns: list, rows: int) -> None:
    with pytest.raises(ValueError, match=r"latency|rows=0"):
        measure(lambda _: None, columns, rows=rows)
