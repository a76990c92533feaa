import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras_hub
import numpy as np
import pytest

from tests.killing import python, run_and_kill
from tests.teachers.harness import PAIR, SINGLE, saved_step, tuning, write_table
from tfb2d.config import ConfigError
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.outcomes import TeacherOutcome
from tfb2d.teachers.fine_tune import fine_tune, measure
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.teacher import load_teacher


def test_it_learns_and_says_so(tuned: Path) -> None:
    about = read_about(tuned)
    outcome = about["outcome"]
    assert outcome["steps"] == 72
    assert [row["step"] for row in outcome["history"]] == [24, 48, 72]
    assert outcome["best"]["valid_accuracy"] > 0.9
    assert outcome["best"]["valid_loss"] == min(row["valid_loss"] for row in outcome["history"]) < 0.5
    logits = load_teacher(tuned).logits([["red shoe", "red shoe"], ["the red shoe", "poor film"]])
    assert logits[0] > 0 > logits[1]


def test_the_folder_holds_what_others_need(tuned: Path) -> None:
    card = (tuned / "README.md").read_text()
    assert "96 for training, 48 for validation" in card
    assert "learning_rate: 0.01" in card
    assert "one logit" in card
    assert list((tuned / "tensorboard").glob("events*"))
    assert not [path for path in tuned.rglob("*") if path.suffix in (".pkl", ".pickle", ".npy")]
    plain = keras_hub.models.TextClassifier.from_preset(str(tuned / "model"))  # without tfb2d
    columns = (["red shoe"], ["poor film"])
    assert np.abs(plain.predict(columns, verbose=0) - load_teacher(tuned).logits(columns)).max() < 1e-5


KILLED = """
from pathlib import Path
from tfb2d.config import TeacherConfig
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.fine_tune import fine_tune
fine_tune(TeacherConfig(**{config!r}), Path({data!r}), Task(("query", "title")), Path({out!r}), progress=False)
"""


def test_killed_at_any_moment_it_ends_with_the_same_weights(
    tuned: Path, encoder: Callable, pairs: Path, tmp_path: Path
) -> None:
    # A checkpoint after every step: the kill falls into a step, a checkpoint or an evaluation.
    config = tuning(encoder("bert"), checkpoint_seconds=0.0)
    code = KILLED.format(config=dataclasses.asdict(config), data=str(pairs), out=str(tmp_path))
    run_and_kill(python(code), lambda: saved_step(tmp_path) >= 30)
    stopped = saved_step(tmp_path)
    assert stopped < 72
    outcome = fine_tune(config, pairs, PAIR, tmp_path, progress=False)
    whole = read_about(tuned)
    assert read_about(tmp_path)["weights"] == whole["weights"]
    assert outcome.to_json()["history"] == tuple(whole["outcome"]["history"])


@pytest.mark.parametrize("headline", ["", "log_loss"])
def test_it_stops_when_patience_is_over_and_keeps_the_best_weights(
    headline: str, encoder: Callable, pairs: Path, tmp_path: Path
) -> None:
    config = tuning(encoder("bert"), epochs=9, learning_rate=1.0, patience=2)  # too high: it gets worse
    outcome = fine_tune(config, pairs, PAIR, tmp_path, progress=False, headline=headline)
    losses = [row["valid_loss"] for row in outcome.history]
    # Of pairs ROC-AUC leads, unless the user chose another measure; of equal figures the lower loss is better.
    figures = [0.0 if headline else row["valid_roc_auc"] for row in outcome.history]
    best = max(range(len(losses)), key=lambda row: (figures[row], -losses[row]))
    assert len(losses) == best + 3 < 9
    assert outcome.best == outcome.history[best]
    teacher = load_teacher(tmp_path)
    table = read_table(pairs / "valid")
    logits = teacher.logits([table[name].to_pylist() for name in PAIR.fields])
    assert measure(PAIR, logits, table["label"].to_numpy()[:, None])["valid_loss"] == pytest.approx(losses[best], 1e-6)


@pytest.mark.parametrize(("kind", "seed"), [("multiclass", 1), ("graded", 0)])
def test_other_kinds_of_task(kind: str, seed: int, encoder: Callable, tmp_path: Path) -> None:
    names = ("red", "blue", "poor")
    task = (
        Task(("text",), "multiclass", names) if kind == "multiclass" else Task(("text",), "graded", label_range=(1, 3))
    )
    for number, split in enumerate(("train", "valid")):
        which = np.random.default_rng(number).integers(0, 3, 96)
        labels = which if kind == "multiclass" else which / 2
        texts = [f"the {names[i]} film" for i in which]
        write_table(tmp_path / "data" / split, {"text": texts, "label": list(map(float, labels))})
    config = tuning(encoder("bert"), epochs=4, evaluate_per_epoch=2, patience=0, seed=seed)
    outcome = fine_tune(config, tmp_path / "data", task, tmp_path / "teacher", progress=False)
    assert len(outcome.history) == 8
    if kind == "multiclass":
        assert outcome.best["valid_accuracy"] > 0.9
    else:
        assert outcome.best["valid_error"] < 0.25


def test_a_saved_teacher_is_taken_over_as_it_is(tuned: Path, pairs: Path, tmp_path: Path) -> None:
    renamed = Task(("search", "offer"))
    outcome = fine_tune(tuning(tuned), pairs, PAIR, tmp_path / "same", progress=False)
    assert outcome == TeacherOutcome.from_json(read_about(tuned)["outcome"])
    assert read_about(tmp_path / "same")["weights"] == read_about(tuned)["weights"]
    columns = [["red shoe"], ["blue hat"]]
    assert (load_teacher(tmp_path / "same").logits(columns) == load_teacher(tuned).logits(columns)).all()
    fine_tune(tuning(tuned), pairs, renamed, tmp_path / "renamed", progress=False)
    assert load_teacher(tmp_path / "renamed").task == renamed
    with pytest.raises(ConfigError, match="teacher of another task"):
        fine_tune(tuning(tuned), pairs, SINGLE, tmp_path / "other", progress=False)


def test_its_encoder_can_start_another_task(tuned: Path) -> None:
    fresh, old = build_classifier(tuning(tuned / "model"), 3), load_teacher(tuned).model
    assert fresh.output_shape == (None, 3)
    weights = zip(fresh.backbone.get_weights(), old.backbone.get_weights(), strict=True)
    assert all((new == first).all() for new, first in weights)


def test_mixed_precision_computes_the_encoder_in_bfloat16(
    encoder: Callable, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfb2d.teachers.models.precision", lambda mixed: "mixed_bfloat16" if mixed else "float32")
    config = tuning(encoder("bert"), mixed_precision=True)
    outcome = fine_tune(config, pairs, PAIR, tmp_path, progress=False)
    assert outcome.best["valid_accuracy"] > 0.9
    teacher = load_teacher(tmp_path)
    assert teacher.model.backbone.compute_dtype == "bfloat16"
    assert teacher.model.output_dense.compute_dtype == "float32"
    logits = teacher.logits([["red shoe"] * 2, ["the red shoe", "poor film"]])
    assert logits.dtype == np.float32
    assert (logits.view(np.uint32) & 0xFFFF).any()  # more digits than bfloat16 has


def test_rows_without_a_label_are_named(encoder: Callable, pairs: Path, tmp_path: Path) -> None:
    columns = {"query": ["a", "b"], "title": ["a", "b"], "label": [1.0, float("nan")]}
    write_table(tmp_path / "train", columns)
    write_table(tmp_path / "valid", columns)
    with pytest.raises(DataError, match=r"train: row 2 has no label"):
        fine_tune(tuning(encoder("bert")), tmp_path, PAIR, tmp_path / "out", progress=False)
    for split in ("train", "valid"):
        write_table(tmp_path / split, {name: [] for name in columns})
    with pytest.raises(DataError, match="no rows"):
        fine_tune(tuning(encoder("bert")), tmp_path, PAIR, tmp_path / "out", progress=False)


def test_a_loss_that_is_no_number_stops_the_run(encoder: Callable, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="learning_rate"):
        fine_tune(tuning(encoder("bert"), learning_rate=1e38, clip_norm=1e38), pairs, PAIR, tmp_path, progress=False)
