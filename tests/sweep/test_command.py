"""The whole command on a tiny run: it is killed, goes on, and counts its look at the test split."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.killing import module, run_and_kill
from tests.sweep.made_run import LABELLED
from tfb2d.atomic import read_json
from tfb2d.resume import RECORD, is_finished
from tfb2d.sweep.curve import LEAST

pytestmark = pytest.mark.slow  # six processes, each of which loads TensorFlow
FLAGS = [
    "--sweep=transfer,vocabulary",
    "--values=transfer=0,40,100",
    "--values=vocabulary=20",
    "--resamples=50",
]


def command(run: Path, *flags: str) -> list[str]:
    return module("tfb2d.sweep", f"--workdir={run}", *flags)


def trained(out: Path) -> list[Path]:
    """Returns the records of the finished variants."""
    return [path for path in out.glob(f"variants/*/*/{RECORD}") if is_finished(path.parent)]


def call(run: Path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(run, *flags), capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def swept(run: Path) -> Path:
    """Returns the sweep's folder, after a kill and a second call."""
    out = run / "sweep"
    run_and_kill(command(run, *FLAGS), lambda: bool(trained(out)))
    before = {path: path.read_bytes() for path in trained(out)}
    assert not (out / "sweep.json").exists()
    done = call(run, *FLAGS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "vocabulary of 20" in done.stdout
    assert all(path.read_bytes() == text for path, text in before.items())
    return out


def test_every_variant_has_figures_of_both_splits(swept: Path) -> None:
    figures = read_json(swept / "sweep.json")
    assert figures["primary"] == "accuracy"
    assert [axis["name"] for axis in figures["axes"]] == ["transfer", "vocabulary"]
    for axis in figures["axes"]:
        assert sum(variant["base"] for variant in axis["variants"]) == 1
        for variant in axis["variants"]:
            for split in ("valid", "test"):
                accuracy = variant[split]["accuracy"]
                low, high = accuracy["ci95"]
                assert low <= accuracy["value"] <= high
                assert 0.4 < variant[split]["fidelity"]["value"] <= 1
        best = max(axis["variants"], key=lambda variant: variant["valid"]["accuracy"]["value"])
        assert axis["best"] == best["name"]
    transfer = figures["axes"][0]
    # Three of the rows drawn are among those that nobody scored.
    assert [variant["rows"] - LABELLED for variant in transfer["variants"]][:3] == [0, 39, 98]
    assert len(transfer["variants"]) >= LEAST
    assert transfer["curves"]["test"]["accuracy"]["times10"]["gain"]["ci95"]
    assert "collisions" in figures["axes"][1]["variants"][0]


def test_the_page_needs_nothing_else(swept: Path) -> None:
    page = (swept / "sweep.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 6
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_again_trains_nothing_and_looks_are_counted(swept: Path, run: Path) -> None:
    results = {path: path.stat().st_mtime_ns for path in trained(swept)}
    assert len(json.loads((swept / "test_looks.json").read_text())) == 1
    again = call(run, *FLAGS)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in trained(swept)} == results
    assert len(json.loads((swept / "test_looks.json").read_text())) == 1
    assert not list(swept.glob("variants/*/*/checkpoint*"))
    planned = call(run, "--sweep=all", "--seeds=2", "--dry_run", "--config.student.dim=4")
    assert planned.returncode == 0, planned.stderr[-3000:]
    assert "done" not in planned.stdout
    recipe = run.parent / "recipe.py"
    recipe.write_text(
        "from tests.sweep.made_run import CONFIG\ndef get_config(needed):\n    return CONFIG.to_dict()\n",
        encoding="utf-8",
    )
    planned = call(run, f"--config={recipe}:argument", "--sweep=all", "--dry_run", "--config.student.window=3")
    assert planned.returncode == 0, planned.stderr[-3000:]
    assert "axis orders is left out" in planned.stderr
    wrong = call(run, "--config.student.dimm=4")
    assert wrong.returncode == 1
    assert "dim" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    wrong = call(run, "--config.student.max_tokens=9")  # and so student.spelling
    assert wrong.returncode == 1
    assert "whose hashed rows depend on it" in wrong.stderr
    wrong = call(run, "--config=quickstart")
    assert wrong.returncode == 1
    assert "a sweep takes its rows and logits" in wrong.stderr
