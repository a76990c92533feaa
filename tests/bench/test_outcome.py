"""Ratios against the targets, and what is shown."""

import re

import pytest

from tfb2d.bench.measure import Timing, result
from tfb2d.bench.outcome import picture, ratio_table, ratios, tables


def entry(
    system: str, batch: int | str, p50: float, rows: float, accuracy: float | None = None, threads: int = 1
) -> dict:
    timing = Timing(10, 10, 1.0, 0.5, p50, 2 * p50, rows, 100.0)
    return result(system, "shop", batch, threads, timing, file_mb=3.0, accuracy=accuracy)


RESULTS = [
    entry("student", 1, 100.0, 1e4, 0.8),
    entry("bert-base-onnx-int8", 1, 4900.0, 200.0),
    entry("bert-base-keras", 1, 15000.0, 66.0),
    entry("student", "rank", 1000.0, 1e5, 0.8),
    entry("bert-base-onnx-int8", "rank", 1e6, 100.0),
    entry("tinybert-onnx-int8", "rank", 1e5, 1001.0),
    entry("student", 1024, 1000.0, 1e5, 0.8, threads=2),
    entry("fasttext", 1024, 1000.0, 1e5, 0.7, threads=2),
]


def test_ratios_are_how_many_times_better() -> None:
    reached = {(entry["peer"], entry["batch"]): entry for entry in ratios(RESULTS, ["student"])}
    assert set(reached) == {  # fastText is compared on one core alone
        ("bert-base-onnx-int8", "rank"),
        ("tinybert-onnx-int8", "rank"),
        ("bert-base-keras", 1),
        ("bert-base-onnx-int8", 1),
    }
    assert reached["bert-base-onnx-int8", "rank"]["ratio"] == pytest.approx(1000)
    assert reached["bert-base-onnx-int8", "rank"]["met"]
    assert not reached["tinybert-onnx-int8", "rank"]["met"]
    assert reached["bert-base-keras", 1]["met"]
    assert reached["bert-base-onnx-int8", 1]["ratio"] == pytest.approx(49)
    assert not reached["bert-base-onnx-int8", 1]["met"]
    text = ratio_table(list(reached.values()))
    assert re.search(r"student / bert-base-keras +shop +1 +1 +latency +150 +1.00 +150 +met", text)
    assert len(re.findall("missed", text)) == 2


def test_table_and_picture_name_every_system() -> None:
    text = tables(RESULTS)
    assert "shop, 1 thread " in text
    assert "shop, 2 threads" in text
    assert re.search(r"student +0.800 +100 µs +100,000 +200 µs", text)
    svg = picture(RESULTS, ["student"])
    assert svg.startswith("<?xml")
    assert all(name in svg for name in ("student", "bert-base-onnx-int8", "bert-base-keras"))
    assert picture(RESULTS, ["student"]) == svg
    assert "mathdefault" not in svg  # ticks are plain numbers
    assert ">0.1<" in svg
