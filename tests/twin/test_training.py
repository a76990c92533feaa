"""Twins learn, go on after a stop to the same weights, and stop where numbers are no numbers."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.teachers.harness import save_encoder
from tests.twin.small import DATA, config, settings, write_run
from tfb2d.config import Config, ConfigError, DataConfig, TeacherConfig
from tfb2d.config.twin import TwinConfig
from tfb2d.outcomes import TwinOutcome
from tfb2d.resume import bring_up
from tfb2d.runs import Run
from tfb2d.stages import Stage, stages
from tfb2d.twin import stage
from tfb2d.twin.look_up import LookUpTraining
from tfb2d.twin.model import load_twin
from tfb2d.twin.training import TwinTraining

Stopped = type("Stopped", (Exception,), {})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_encoder("bert", tmp_path_factory.mktemp("encoder") / "bert"))


def train(run: Run, whole: Config, stop_after: int = 0, monkeypatch: pytest.MonkeyPatch | None = None) -> TwinOutcome:
    """Brings up the run's twin stages; raises Stopped behind so many steps of the last."""
    listed = [item for item in stages(whole) if item.name in ("twin", "twin_transformer")]
    for item in listed:
        if stop_after and item is listed[-1]:
            assert monkeypatch is not None
            _stop(monkeypatch, LookUpTraining if whole.twin.kind == "asymmetric" else TwinTraining, stop_after)
        outcome = _bring_up(run, whole, item)
    return outcome


def _bring_up(run: Run, whole: Config, item: Stage) -> TwinOutcome:
    return bring_up(run.folder / item.name, "made from", lambda _: item.work(run, whole), TwinOutcome)


def _stop(monkeypatch: pytest.MonkeyPatch, training: type, steps: int) -> None:
    step, taken = training.loss_of, []

    def loss_of(self, rows):
        if len(taken) == steps:
            raise Stopped
        taken.append(rows)
        return step(self, rows)

    monkeypatch.setattr(training, "loss_of", loss_of)


KINDS = {
    "transformer": {"dropout": 0.1, "margin_weight": 0.05},
    "triletters": {"preset": "scratch", "inputs": "triletters", "crossing": "cosine"},
    "ngram": {"kind": "ngram", "batch_size": 60},
    "asymmetric": {"kind": "asymmetric", "margin_weight": 0.05},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_ends_with_the_same_twin(
    kind: str, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = config(settings(**{"preset": encoder, "checkpoint_seconds": 1e-9, **KINDS[kind]}), temperature=1.5)
    run = write_run(tmp_path / "run")
    outcome = train(run, whole)
    twin = load_twin(run.twin)
    assert outcome.rows == 240
    assert not (run.twin / "vectors.safetensors").exists()
    epochs = whole.twin.look_up_epochs if kind == "asymmetric" else whole.twin.epochs
    assert [row["epoch"] for row in outcome.history] == list(range(1, epochs + 1))
    assert outcome.steps == epochs * math.ceil(240 / whole.twin.batch_size)
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]
    assert all({"valid_loss", "valid_roc_auc", "train_loss"} <= set(row) for row in outcome.history)
    assert outcome.calibration.scale > 0
    stopped = Run(tmp_path / "stopped", progress=False)
    shutil.copytree(run.folder, stopped.folder)
    shutil.rmtree(stopped.twin)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        train(stopped, whole, outcome.steps // 2 + 1, patch)
    assert (stopped.twin / "checkpoints" / "state.safetensors").exists()
    again = train(stopped, whole)
    for name, values in load_file(run.twin / "weights.safetensors").items():
        np.testing.assert_array_equal(load_file(stopped.twin / "weights.safetensors")[name], values, err_msg=name)
    assert [_without_time(row) for row in again.history] == [_without_time(row) for row in outcome.history]
    assert twin.config == whole.twin


def _without_time(row: dict) -> dict:
    return {name: value for name, value in row.items() if "seconds" not in name}


def test_a_twin_learns_what_the_teacher_knows(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=900)
    ngram = settings(kind="ngram", epochs=10, crossing="cosine", table_learning_rate=0.1)
    assert train(run, config(ngram)).history[-1]["valid_roc_auc"] > 0.9


def test_a_training_that_diverges_names_the_setting(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    wild = settings(kind="ngram", table_learning_rate=1e30, head_learning_rate=1e30, clip_norm=0.0, warmup=0.0)
    with pytest.raises(FloatingPointError, match=r"twin\.learning_rate"):
        train(run, config(wild))


def names(whole: Config) -> list[str]:
    return [item.name for item in stages(whole)]


def test_a_run_lists_the_stages_of_its_models() -> None:
    data, teachers = DATA, {"t": TeacherConfig(preset="p")}
    both = Config(models=("student", "twin"), data=data, teachers=teachers)
    assert "student" in names(both)
    assert "twin" in names(both)
    twin = Config(models=("twin",), data=data, teachers=teachers, twin=TwinConfig(kind="asymmetric"))
    assert names(twin)[:3] == ["data", "teachers/t", "logits/t"]
    assert not {"student", "rows", "words", "compress", "export"} & set(names(twin))
    assert [name for name in names(twin) if name.startswith("twin")] == ["twin_transformer", "twin"]
    crossed = Config(models=("twin",), data=data, teachers=teachers, twin=TwinConfig(in_batch_negatives=4))
    found = {item.name: item for item in stages(crossed)}
    assert found["cross_pairs"].reads == ("data", "teachers/t")
    assert "cross_pairs" in found["twin"].reads
    assert "teachers/t" in found["twin"].reads  # whose encoder the towers begin with
    assert "twin" not in names(Config(data=data, teachers=teachers))


def test_how_a_twin_is_stored_leaves_it_trained() -> None:
    data, teachers = DATA, {"t": TeacherConfig(preset="p")}

    def made_from(twin: TwinConfig) -> object:
        whole = Config(models=("twin",), data=data, teachers=teachers, twin=twin)
        return next(item.settings for item in stages(whole) if item.name == "twin")

    assert made_from(TwinConfig()) == made_from(TwinConfig(weights="float", checkpoint_seconds=9.0))
    assert made_from(TwinConfig()) != made_from(TwinConfig(dim=64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": DataConfig(fields=("text",))}, "takes pairs"),
        ({"data": DataConfig(fields=("query", "title"), classes=("a", "b", "c"))}, "not several classes"),
        ({"models": ("twins",)}, "student, twin"),
        ({"models": ()}, "student, twin"),
        ({"models": ("twin", "twin")}, "student, twin"),
        ({"teachers": {"t": TeacherConfig(logits=("scores.tsv",))}}, "no teacher has word pieces"),
        (
            {
                "teachers": {"t": TeacherConfig(logits=("scores.tsv",))},
                "twin": TwinConfig(kind="ngram", in_batch_negatives=2),
            },
            "scores from files cannot",
        ),
        ({"teachers": {"twin": TeacherConfig(preset="p")}}, "something else under this name"),
    ],
)
def test_runs_that_cannot_train_a_twin_are_refused(changes: dict, message: str) -> None:
    plain = {"models": ("twin",), "data": DataConfig(fields=("query", "title")), "teachers": {"t": TeacherConfig("p")}}
    with pytest.raises(ConfigError, match=message):
        Config(**{**plain, **changes})


def test_scores_from_files_are_enough_for_n_grams_and_for_tri_letters() -> None:
    scores = {"t": TeacherConfig(logits=("scores.tsv",))}
    for twin in (TwinConfig(kind="ngram"), TwinConfig(preset="scratch", inputs="triletters"), TwinConfig(preset="p")):
        whole = Config(models=("twin",), data=DataConfig(fields=("q", "t")), teachers=scores, twin=twin)
        assert stage.source_teacher(whole) == ""
