"""The whole bench on a tiny setting, and how it answers what cannot work."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tfb2d.bench.measure import BenchError
from tfb2d.bench.systems import Maker
from tfb2d.bench.work import Rows, Work
from tfb2d.cli import main as tfb2d
from tfb2d.data.task import Task

PAIRS = Task(("query", "title"))
KEYS = {"system", "task", "batch", "threads", "p50_us", "p99_us", "rows_per_s", "peak_mb", "file_mb", "accuracy"}
MORE = {"cpu_s_per_million", "wh_per_million", "cost_per_million"}
SHIFT = {"batch_shift"}  # of what scores rows
PEERS = ("bert-tiny-onnx-int8", "fasttext", "model2vec")  # one of a kind; KerasHub's is in test_bert.py


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tfb2d.bench", *arguments], capture_output=True, text=True, check=False, timeout=500
    )


def test_tiny_bench(model: Path, data: Path, tmp_path: Path) -> None:
    done = bench(
        f"--model={model}",
        f"--data={data / 'test.tsv'}",
        f"--train={data / 'train.tsv'}",
        f"--systems=student,{','.join(PEERS)}",
        "--threads=1",
        "--batches=1,rank",
        "--seconds=0",
        "--rounds=2",
        "--max_length=16",
        "--training_rows=600",
        "--training_buckets=97",
        f"--output={tmp_path}",
        "--noprogress",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "bench.json").read_text())
    timed = [entry for entry in results if entry["p50_us"] is not None]
    assert all(set(entry) == KEYS | MORE | (SHIFT if entry in timed else set()) for entry in results)
    shifts = {entry["system"]: entry["batch_shift"] for entry in timed}
    assert shifts["bert-tiny-onnx-int8"] > 1e-5  # one activation scale a batch
    assert max(shift for name, shift in shifts.items() if not name.startswith("bert")) < 1e-6
    students = {"student", "student-python", "student-edge"}
    assert {(entry["system"], entry["batch"]) for entry in timed} == {
        (system, batch) for system in students | set(PEERS) for batch in (1, "rank")
    }
    for entry in timed:
        assert (entry["task"], entry["threads"]) == ("test", 1)
        assert 0 < entry["p50_us"] <= entry["p99_us"]
        assert entry["rows_per_s"] > 0
        assert 20 < entry["peak_mb"] < 5000
        assert 0 < entry["file_mb"] < 100
        assert (entry["accuracy"] is None) == entry["system"].startswith("bert")
        assert entry["wh_per_million"] == pytest.approx(8 * entry["cpu_s_per_million"] / 3600)
    # "good" and "bad" are learnt from 80 rows; the student has random weights.
    sizes = {entry["system"]: entry["file_mb"] for entry in timed}
    assert sizes["student-edge"] < sizes["student"] == sizes["student-python"]
    accuracies = {entry["system"]: entry["accuracy"] for entry in timed}
    assert accuracies["fasttext"] == accuracies["model2vec"] == 1
    assert accuracies["student"] == accuracies["student-python"]
    speeds = {entry["system"]: entry for entry in results if entry["p50_us"] is None}
    assert set(speeds) == {"student-hashing", "student-training"}
    assert all(entry["rows_per_s"] > 0 for entry in speeds.values())
    about = json.loads((tmp_path / "about.json").read_text())
    assert set(about["systems"]) == students | set(PEERS)
    assert "random weights" in about["systems"]["bert-tiny-onnx-int8"]
    assert json.loads((tmp_path / "ratios.json").read_text()) == []  # no BERT-Base, no batch of 1,024
    assert "depends on the other rows of its batch" in about["systems"]["bert-tiny-onnx-int8"]
    assert "Largest change of a row's score, 32 rows together" in done.stdout
    assert "model2vec" in done.stdout
    assert (tmp_path / "bench.txt").read_text().strip() in done.stdout
    assert "<svg" in (tmp_path / "bench.svg").read_text()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--systems=bert-large", "there is no bert-large; there are student"),
        ("--batches=1,all", "--batches takes numbers of rows and rank, not all"),
        ("--threads=100000", "this process may use"),
        ("--model=/nowhere", "there is no such folder"),
        ("--data=/nowhere.tsv", "/nowhere.tsv"),
    ],
)
def test_what_cannot_work_is_said(flag: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = ["--fields=text", "--systems=student", "--threads=1", "--batches=1", f"--output={tmp_path}", "--noprogress"]
    assert tfb2d(["bench", *small, flag]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fasttext" else find_spec(name))
    work = Work("t", Task(("text",)), Rows([["a"]]), Rows([["a"]]))
    with pytest.raises(BenchError, match=r"fasttext needs fasttext: pip install 'tfb2d\[bench\]'"):
        Maker({}, tmp_path, 1, 16).peer("fasttext", work)
