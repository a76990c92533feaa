import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.killing import python, run_and_kill
from tests.teachers.harness import PAIR, SINGLE, saved_step, tuning, write_pairs, write_table
from tfb2d.config import AdaptConfig, Config, ConfigError, DataConfig, TeacherConfig
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError
from tfb2d.outcomes import AdaptOutcome
from tfb2d.resume import bring_up
from tfb2d.stages import stages
from tfb2d.teachers.adapt import adapt
from tfb2d.teachers.fine_tune import fine_tune, measure
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.teacher import load_teacher

SETTINGS = AdaptConfig(rows=120, epochs=4, batch_size=8, learning_rate=1e-2)


def config_for(preset: Path, **changes: object) -> TeacherConfig:
    return tuning(preset, **{"adapt": SETTINGS, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_pairs(tmp_path_factory.mktemp("data"))
    rng = np.random.default_rng(5)
    things = rng.choice(["red shoe", "blue hat"], 150)  # the colour tells the thing
    write_table(folder / "transfer", {"query": list(things), "title": [f"the {t}" for t in things]}, parts=3)
    return folder


@pytest.fixture(scope="module")
def adapted(encoder: Callable, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "encoder"
    adapt_once(config_for(encoder("bert")), data, out)
    return out


def adapt_once(config: TeacherConfig, data: Path, out: Path) -> AdaptOutcome:
    """Adapts as a run does."""
    return bring_up(out, "1", lambda folder: adapt(config, data, PAIR, folder, progress=False), AdaptOutcome)


def test_it_learns_to_guess_and_says_so(adapted: Path, data: Path, encoder: Callable) -> None:
    outcome = adapt_once(config_for(encoder("bert")), data, adapted)  # done before
    assert outcome.rows == 118  # two are held out
    assert outcome.steps == 60
    assert [row["step"] for row in outcome.history] == [0, 15, 30, 45, 60]
    first, last = outcome.history[0], outcome.history[-1]
    assert last["valid_loss"] < 0.6 * first["valid_loss"]
    assert last["train_loss"] < 2.5
    assert not (adapted / "checkpoints").exists()
    assert list((adapted / "tensorboard").glob("events*"))
    fresh = build_classifier(TeacherConfig(preset=str(adapted / "model"), max_length=16), 3)
    start = build_classifier(config_for(encoder("bert")), 3)
    assert fresh.output_shape == (None, 3)
    assert fresh.preprocessor.tokenizer.strip_accents  # it was adapted so, and goes on so
    weights = zip(fresh.backbone.get_weights(), start.backbone.get_weights(), strict=True)
    assert any((adapted != first).any() for adapted, first in weights)


def test_mpnet_is_adapted_too(data: Path, encoder: Callable, tmp_path: Path) -> None:
    config = config_for(encoder("mpnet"))
    history = adapt(config, data, PAIR, tmp_path / "encoder", progress=False).history
    assert history[-1]["valid_loss"] < 0.6 * history[0]["valid_loss"]
    adapted = build_classifier(TeacherConfig(preset=str(tmp_path / "encoder" / "model"), max_length=16), 1)
    assert adapted.backbone.num_layers == 1


def test_a_teacher_starts_from_it(adapted: Path, tuned: Path, data: Path, encoder: Callable, tmp_path: Path) -> None:
    outcome = fine_tune(config_for(encoder("bert")), data, PAIR, tmp_path, progress=False, adapted=adapted)
    assert outcome.best["valid_accuracy"] > 0.9
    about = read_about(tmp_path)
    assert about["weights"] != read_about(tuned)["weights"]
    assert about["settings"]["adapt"]["rows"] == 120


KILLED = """
from pathlib import Path
from tfb2d.config import AdaptConfig, TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers.adapt import adapt
config = {config!r}
config["adapt"] = AdaptConfig(**config["adapt"])
adapt(TeacherConfig(**config), Path({data!r}), Task(("query", "title")), Path({out!r}), progress=False)
"""


def test_killed_it_ends_with_the_same_weights(adapted: Path, encoder: Callable, data: Path, tmp_path: Path) -> None:
    config = config_for(encoder("bert"), checkpoint_seconds=0.0)
    code = KILLED.format(config=dataclasses.asdict(config), data=str(data), out=str(tmp_path))
    run_and_kill(python(code), lambda: saved_step(tmp_path) >= 20)
    assert 0 < saved_step(tmp_path) < 60
    outcome = adapt(config, data, PAIR, tmp_path, progress=False)
    whole = adapt_once(config, data, adapted)
    assert outcome.weights == whole.weights
    assert outcome.history == whole.history


def test_what_cannot_be_adapted(encoder: Callable, data: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "transfer", {"text": ["", "a"]})
    with pytest.raises(DataError, match="two words"):
        adapt(config_for(encoder("bert")), tmp_path, SINGLE, tmp_path / "out", progress=False)
    steep = dataclasses.replace(SETTINGS, learning_rate=1e38)
    broken = config_for(encoder("bert"), adapt=steep, clip_norm=1e38, warmup=0.0)
    with pytest.raises(FloatingPointError, match=r"adapt\.learning_rate"):
        adapt(broken, data, PAIR, tmp_path / "nan", progress=False)
    for changes, message in (
        ({"masking": "letters"}, "whole_word"),
        ({"rate": 0.0}, "share"),
        ({"rows": -1}, "or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            AdaptConfig(**changes)


def test_teachers_with_the_same_settings_share_an_encoder(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\na\t1\n")
    same = TeacherConfig(preset="p", adapt=AdaptConfig(rows=10, masking="phrase"))
    teachers = {
        "plain": TeacherConfig(preset="p"),
        "one": same,
        "two": dataclasses.replace(same, seed=1),
        "other": dataclasses.replace(same, adapt=AdaptConfig(rows=20)),
    }
    config = Config(data=DataConfig(train=(str(tmp_path / "train.tsv"),)), teachers=teachers)
    assert Config.from_dict(config.to_dict()) == config
    reads = {stage.name: stage.reads for stage in stages(config)}
    assert [name for name in reads if name.startswith("adapted")] == ["adapted/one", "adapted/other"]
    assert reads["teachers/plain"] == ("data:labelled",)
    assert reads["teachers/one"] == reads["teachers/two"] == ("data:labelled", "adapted/one")
    assert reads["teachers/other"] == ("data:labelled", "adapted/other")


def test_averaged_weights(tuned: Path, encoder: Callable, data: Path, tmp_path: Path) -> None:
    config = config_for(encoder("bert"), adapt=AdaptConfig(), ema=0.9)
    outcome = fine_tune(config, data, PAIR, tmp_path, progress=False)
    losses = [row["train_loss"] for row in outcome.history]
    assert losses == [row["train_loss"] for row in read_about(tuned)["outcome"]["history"]]  # the way is the same
    assert read_about(tmp_path)["weights"] != read_about(tuned)["weights"]  # what is kept is not
    table = read_table(data / "valid")
    logits = load_teacher(tmp_path).logits([table[name].to_pylist() for name in PAIR.fields])
    figures = measure(PAIR, logits, table["label"].to_numpy()[:, None])
    assert figures["valid_loss"] == pytest.approx(outcome.best["valid_loss"], 1e-5)
