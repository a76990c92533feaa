"""The command as it is typed; what it does is tested in tests/evaluation/test_labelled.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run as command
from tests.evaluation.tiny_model import PAIRS, REVIEWS, export
from tests.tables import write
from tfb2d.atomic import read_json, write_json


def test_a_model_is_judged_beside_its_teacher(tmp_path: Path) -> None:
    model = export(tmp_path / "reviews/1", REVIEWS)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    good = generator.random(300) < 0.2 + 0.6 * labels
    texts = [f"{'good' if item else 'poor'} film {row}" for row, item in enumerate(good)]
    rows = [
        (text, REVIEWS.classes[label], f"movie {row % 30}")
        for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    scored = write(tmp_path / "judged.csv", ["body", "verdict", "movie"], [*rows, ("a film", "fine", "movie 1")])
    logits = write(
        tmp_path / "teacher.tsv",
        ["text", "logit"],
        list(zip(texts, 4 * labels - 2 + generator.normal(size=300), strict=True)),
    )
    done = command(
        "evaluate",
        f"--model={tmp_path / 'reviews'}",
        f"--data={scored}",
        "--fields=text=body",
        "--label=verdict",
        "--group=movie",
        f"--teacher_logits={logits}",
        f"--json={tmp_path / 'out.json'}",
        "--resamples=200",
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    accuracy = np.mean(good == labels)
    assert figures["model"] == str(model)
    assert figures["student"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert figures["student"]["accuracy"]["ci95"][0] < accuracy < figures["student"]["accuracy"]["ci95"][1]
    assert set(figures["student"]) == {"accuracy", "roc_auc", "pr_auc", "ndcg10", "ndcg10_all", "ece", "log_loss"}
    assert 0.7 < figures["retention"]["value"] < 0.95
    assert (figures["rows"], figures["groups"], figures["rejected"], figures["teacher_rows"]) == (300, 30, 1, 300)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["metric", "student", "95%", "interval", "teacher", "95%", "interval"]
    assert lines[2].split()[:2] == ["accuracy", f"{accuracy:.3f}"]
    assert any(line.startswith("fidelity") for line in lines)
    assert figures["ndcg_groups"] == {"all": 30, "counted": 30}
    assert any(line.startswith("NDCG@10 counts 30 of 30 groups") for line in lines)
    assert lines[-1].startswith("rejected   1: 1 unknown label")


def test_the_threshold_of_the_card_is_told_with_what_it_is_worth_here(tmp_path: Path) -> None:
    model = export(tmp_path / "reviews/1", REVIEWS)
    about = model / "assets.extra/tfb2d.json"
    chosen = {"threshold": 0.7, "f1": 0.8, "precision": 0.75, "recall": 0.857, "rows": 90}
    write_json(about, {**read_json(about), "decision": chosen})
    texts = [
        ("good film", "good"),
        ("poor film", "bad"),
        ("a good one", "good"),
        ("good, not", "bad"),
        ("dull", "good"),
    ]
    data = write(tmp_path / "judged.tsv", ["text", "label"], texts)
    out = tmp_path / "out.json"
    done = command("evaluate", f"--model={model}", f"--data={data}", f"--json={out}", "--resamples=0")
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["decision"] == chosen
    here = {name: figures["student"][name]["value"] for name in ("f1", "precision", "recall")}
    assert here == pytest.approx({"f1": 2 / 3, "precision": 2 / 3, "recall": 2 / 3})
    assert "threshold  0.700, from which score on the answer is yes; chosen on validation," in done.stdout
    assert "where it had F1 0.800, precision 0.750, recall 0.857; its figures on these rows are above" in done.stdout


def test_pairs_are_ranked_by_query(tmp_path: Path) -> None:
    model = export(tmp_path / "pairs/1", PAIRS)
    rows = [("a", "match", 3), ("a", "other", 1), ("b", "other", 3), ("b", "match 2", 2), ("c", "match", 3)]
    data = write(tmp_path / "judged.tsv", ["query", "title", "grade"], rows)
    out = tmp_path / "out.json"
    done = command("evaluate", f"--model={model}", f"--data={data}", f"--json={out}", "--resamples=0")
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert (figures["groups"], figures["ndcg_groups"]) == (3, {"all": 3, "counted": 2})
    assert figures["student"]["pair_order"]["value"] == 0.5
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["metric", "student", "95%", "interval", "BM25", "95%", "interval"]
    assert ["accuracy", f"{figures['student']['accuracy']['value']:.3f}", "–"] in lines  # BM25 has no probabilities
    assert ["pairs", "in", "order", "0.500", f"{figures['bm25']['pair_order']['value']:.3f}"] in lines


def test_what_cannot_work_is_said_in_a_line(tmp_path: Path) -> None:
    done = command("evaluate", f"--model={tmp_path}", f"--data={tmp_path / 'judged.tsv'}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"error: {tmp_path / 'judged.tsv'}: nothing found"


def test_quoting_says_how_a_tsv_file_was_written(tmp_path: Path) -> None:
    export(tmp_path / "reviews/1", REVIEWS)
    labelled = tmp_path / "labelled.tsv"
    texts = [f'"good" film {row}' if row % 2 else f"poor film {row}" for row in range(40)]
    fields = ['"{}"'.format(text.replace('"', '""')) for text in texts]
    lines = [f"{field}\t{REVIEWS.classes[row % 2]}" for row, field in enumerate(fields)]
    labelled.write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")
    figures = {}
    for quoting in ("csv", "none"):
        out = tmp_path / f"{quoting}.json"
        done = command(
            "evaluate",
            f"--model={tmp_path / 'reviews'}",
            f"--data={labelled}",
            f"--json={out}",
            f"--quoting={quoting}",
            "--max_chars=100",
            "--resamples=0",
        )
        assert done.returncode == 0, done.stderr
        figures[quoting] = json.loads(out.read_text())["student"]
    assert figures["csv"] != figures["none"]
    refused = command("evaluate", f"--model={tmp_path / 'reviews'}", f"--data={labelled}", "--quoting=csvv")
    assert refused.returncode == 2
    assert "did you mean csv" in refused.stderr
