"""The edge bench on a tiny setting, and how it answers what cannot work."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.students.harness import PAIR, SMALL, strong_student
from tfb2d.compress.tflite import write_edge

KEYS = {"system", "task", "batch", "threads", "p50_us", "p99_us", "rows_per_s", "peak_mb", "file_mb", "accuracy"}


def bench(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tfb2d.bench", "--tflite", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    write_edge(strong_student(PAIR, replace(SMALL, soft_match=False)), folder, 1.5, [0.1])
    return folder


def test_tiny_bench(model: Path, tmp_path: Path) -> None:
    lines = [f"shoe {i % 7}\t{'good' if i % 2 else 'bad'} shoe, number {i}\t{i % 2}" for i in range(40)]
    (tmp_path / "test.tsv").write_text("\n".join(["query\ttitle\tlabel", *lines]) + "\n")
    out = tmp_path / "out"
    settings = ["--threads=1", "--batches=1,100", "--seconds=0", "--rounds=2", "--starts=1"]
    done = bench(f"--model=shop={model}", f"--data={tmp_path / 'test.tsv'}", f"--output={out}", *settings)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((out / "edge.json").read_text())
    names = ["shop", "shop, no XNNPACK"]
    assert [(row["system"], row["batch"]) for row in rows] == [(name, batch) for batch in (1, "rank") for name in names]
    for row in rows:
        assert row.keys() >= KEYS | {"cold_start_ms", "model_ms", "xnnpack", "cpu_s_per_million"}
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert 0 < row["model_ms"] < row["cold_start_ms"]
        assert row["file_mb"] == pytest.approx(sum(file.stat().st_size for file in model.iterdir()) / 1e6)
        assert 0 <= row["accuracy"] <= 1
        assert row["peak_mb"] < 250  # TensorFlow alone takes more
    assert (out / "edge.txt").read_text().strip() in done.stdout


def test_what_cannot_work_is_told(model: Path, tmp_path: Path) -> None:
    for arguments, message in [
        ([f"--model={tmp_path}"], "tfb2d export"),
        ([f"--model={model}", "--threads=100000"], "this process may use"),
        ([f"--model={model}", f"--model={model}"], "another is called"),
    ]:
        done = bench(*arguments, f"--output={tmp_path}")
        assert done.returncode == 1
        assert message in done.stderr
