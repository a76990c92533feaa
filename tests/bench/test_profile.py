"""Where a student's time goes, on a tiny exported one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def profile(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tfb2d.bench", "--profile", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_kernel_is_counted(model: Path, data: Path, tmp_path: Path) -> None:
    settings = ["--batches=1,rank,16", "--calls=5", "--seconds=0", f"--output={tmp_path}"]
    done = profile(f"--model=shop={model}", f"--data={data / 'test.tsv'}", *settings)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "profile.json").read_text())
    for batch in (1, "rank", 16):
        call, *ops = (entry for entry in rows if entry["batch"] == batch)
        assert (call["op"], call["model"], call["task"]) == ("call", "shop", "test")
        assert sum(entry["nodes"] for entry in ops) == call["nodes"]
        assert sum(entry["share"] for entry in ops) == pytest.approx(1)
        assert call["us"] / call["share"] == pytest.approx(sum(entry["us"] for entry in ops))
        assert [entry["us"] for entry in ops] == sorted((entry["us"] for entry in ops), reverse=True)
        names = {entry["op"] for entry in ops}
        assert {"StringLower", "StringToHashBucketFast", "GatherV2"} <= names
    assert (tmp_path / "profile.txt").read_text().strip() in done.stdout


def test_what_cannot_work_is_told(model: Path, data: Path, tmp_path: Path) -> None:
    for arguments, message in [
        ([f"--model={tmp_path}"], "neither a SavedModel nor"),
        ([f"--model={model}", f"--data={data / 'test.tsv'}", "--batches=none"], "--batches takes numbers of rows"),
    ]:
        done = profile(*arguments, f"--output={tmp_path}")
        assert done.returncode == 1
        assert message in done.stderr
