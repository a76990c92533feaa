"""The loop, closed: serve with --log_requests, ask, watch, distil again with what was asked; and a shadow comparison."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.teachers.harness import WORDS, save_encoder
from tfb2d.atomic import read_json
from tfb2d.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ExportConfig,
    ReportConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from tfb2d.data.splits import HeldOut
from tfb2d.data.tables import read_table
from tfb2d.outcomes import ReportOutcome
from tfb2d.pipeline import run as run_pipeline
from tfb2d.runs import Run
from tfb2d.serving import Client
from tfb2d.serving.local import LocalServer

pytestmark = pytest.mark.slow  # two trainings, a server and three commands, each with TensorFlow to load


def some_rows(count: int, seed: int, *more: str) -> list[tuple[str, str, int]]:
    """Titles that repeat their query or do not, and a label that says so."""
    random = np.random.default_rng(seed)
    rows = []
    for label in random.integers(0, 2, count).tolist():
        query = random.choice(WORDS, 2).tolist()
        title = random.choice([*WORDS, *more], 3).tolist() + (query if label else [])
        rows.append((" ".join(query), " ".join(title), label))
    return rows


def write_rows(path: Path, rows: list[tuple[str, str, int]]) -> str:
    path.write_text("query\ttitle\tlabel\n" + "".join(f"{q}\t{t}\t{label}\n" for q, t, label in rows))
    return str(path)


@dataclass
class Shop:
    """A finished run, and the log of its model's service."""

    root: Path
    run: Path
    model: Path
    log: Path
    rows: list[tuple[str, str]]  # asked about, with repeats
    disguised: list[tuple[str, str]]  # test rows among them, but for case and punctuation


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    data = DataConfig(
        train=(write_rows(root / "judged.tsv", some_rows(300, 1)),),
        unlabelled=(write_rows(root / "old.tsv", some_rows(200, 2)),),
        fields=("query", "title"),
        augment=AugmentConfig(copies=1),
    )
    config = Config(
        name="shop",
        data=data,
        teachers={"bert": TeacherConfig(preset=str(save_encoder("bert", root / "encoder")), max_length=32, epochs=1)},
        student=StudentConfig(buckets=4096, dim=8, ffn=(16,), soft_buckets=512),
        training=TrainingConfig(epochs=2, batch_size=64),
        export=ExportConfig(folder=str(root / "models")),
        report=ReportConfig(labels_only=False, resamples=20, latency_rows=5),
    )
    outcome = run_pipeline(Run(root / "runs" / "shop", progress=False), config)
    assert isinstance(outcome, ReportOutcome)
    model = Path(outcome.model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--embedded", "--model_name=shop", f"--model_base_path={model.parent}", f"--rest_api_port={port}"]
    flags += [f"--log_requests={root / 'log'}", "--log_requests_rate=1"]
    sent: list[tuple[str, str]] = []
    disguised: list[tuple[str, str]] = []
    with LocalServer(flags, 300) as server, Client(server.address, "shop", timeout=60) as client:
        test = read_table(root / "runs/shop/data/test").to_pylist()
        for start in range(0, 60, 6):
            rows = [(query, title) for query, title, _ in some_rows(6, 10 + start, "zebra")]
            row = test[start // 6]
            disguised.append((row["query"].upper(), f"{row['title']}!"))
            rows.append(disguised[-1])
            client.score(rows)
            client.rank([rows[0][0], rows[1][0]], [[title for _, title in rows], ["the hat"]])
            sent += [*rows, *((rows[0][0], title) for _, title in rows), (rows[1][0], "the hat")]
        body = json.dumps({"instances": [{"query": "over", "title": "rest"}]}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/shop:predict", body, timeout=60):
            sent.append(("over", "rest"))
    return Shop(root, root / "runs" / "shop", model, root / "log", sent, disguised)


def command(*words: str, expect: int = 0) -> str:
    run = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=500)
    assert run.returncode == expect, run.stderr[-3000:]
    return run.stdout


def test_what_was_asked_is_in_the_next_distillation(shop: Shop) -> None:
    out = shop.root / "watch"
    flags = [f"--logs={shop.log}", f"--model={shop.model.parent}", f"--teacher={shop.run / 'teachers/bert'}"]
    alerting = ["--fail_on_alert", "--alert_new_tokens=0.01", "--alert_rows=50", "--window=1d"]
    lines = command("tfb2d.monitor", *flags, f"--output={out}", *alerting, expect=3)
    result = read_json(out / "monitor.json")
    assert result["logs"]["rows"] == len(shop.rows)
    assert result["logs"]["broken"] == {}
    assert result["logs"]["time"] == "records"
    assert result["fidelity"]["overall"]["rows"] == len(shop.rows)
    assert result["skew"]["rows"] == len(shop.rows)
    assert result["skew"]["largest"] < 1e-5
    assert 0.01 < result["overall"]["new"]["1"]["share"] < 0.2
    assert "new_tokens" not in result
    assert "zebra" not in (out / "monitor.html").read_text()
    fresh = {(row["query"], row["title"]) for row in read_table(out / "fresh").to_pylist()}
    assert fresh <= set(shop.rows)
    assert result["fresh"]["held_out"] >= 10
    assert not fresh & set(shop.disguised)

    # The printed line, as it stands.
    line = next(re.finditer(r"^next\s+(tfb2d .*)$", lines, re.MULTILINE))[1]
    again = command(*shlex.split(line))
    assert "student" in again
    run = shop.run.with_name("shop-next")
    transfer = {(row["query"], row["title"]) for row in read_table(run / "data" / "transfer").to_pylist()}
    held = HeldOut()
    for split in ("valid", "test"):
        rows = read_table(run / "data" / split).to_pylist()
        held.add(split, [((row["query"], row["title"]), row["query"]) for row in rows])
    assert len(fresh & transfer) > 40
    assert all(held.leak((query, title), query) for query, title in fresh - transfer)  # what the data stage is for
    assert {(row["query"], row["title"]) for row in read_table(shop.run / "data/transfer").to_pylist()} <= transfer
    assert read_json(run / "data/stats.json")["leaked"] == read_json(shop.run / "data/stats.json")["leaked"]
    assert [path.name for path in sorted(shop.model.parent.glob("[!.]*"))] == ["1", "2"]
    about = [read_json(folder / "teachers/bert/teacher.json") for folder in (shop.run, run)]
    assert about[0]["weights"] == about[1]["weights"]  # taken over, not fine-tuned again


def test_scores_made_elsewhere_give_the_same_figures(shop: Shop) -> None:
    out = shop.root / "elsewhere"
    flags = [f"--logs={shop.log}", f"--model={shop.model}", f"--run={shop.run}", f"--output={out}"]
    command("tfb2d.monitor", *flags)
    here = read_json(out / "monitor.json")
    command(
        "tfb2d.label", f"--teacher={shop.run / 'teachers/bert'}", f"--input={out / 'sample'}", f"--output={out / 'l'}"
    )
    copied = shutil.copytree(out / "l", shop.root / "copied")
    command("tfb2d.monitor", *flags, f"--teacher_logits={copied}")
    there = read_json(out / "monitor.json")
    assert there["fidelity"]["overall"]["rows"] == here["fidelity"]["overall"]["rows"]
    for name in ("agreement", "distance"):
        row, other = (result["fidelity"]["overall"][name]["value"] for result in (here, there))
        assert row == pytest.approx(other, abs=1e-4)


def test_shadow_comparison_of_two_versions(shop: Shop) -> None:
    """Compares version 1 with itself, then with a version whose calibration reverses every decision."""
    from tfb2d.serving.export import export
    from tfb2d.students.model import load_student

    models = shop.root / "shadow" / "shop"
    shutil.copytree(shop.model, models / "1")
    student = load_student(shop.run / "student")
    export(student, models, scale=-1.0, bias=[0.0], warmup=[["a"], ["b"]], fingerprint="upside down")
    config = shop.root / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "shop" base_path: "{models}" model_platform: "tensorflow" '
        'model_version_policy { specific { versions: 1 versions: 2 } } version_labels { key: "stable" value: 1 } } }'
    )
    flags = ["tfb2d.monitor.shadow", f"--logs={shop.log}", "--fields=query,title", "--name=shop", "--requests=15"]
    moved = shop.root / "moved.json"
    labels = "--allow_version_labels_for_unavailable_models"
    with LocalServer(["--embedded", f"--model_config_file={config}", labels], 300) as server:
        lines = command(*flags, f"--before={server.address}@stable", f"--after={server.address}@1", "--max_flips=0")
        assert "0.00% of the decisions changed" in lines
        flags += [f"--before={server.address}@stable", f"--after={server.address}@2", f"--json={moved}"]
        lines = command(*flags, "--max_flips=0.1", "--show_text=2", expect=3)
    figures = read_json(moved)
    assert figures["flips"] > 0.5
    assert figures["tau"] < 0
    assert figures["first_changed"] > 0.5
    assert figures["rows"] > 30
    assert len(lines.splitlines()) == 5
