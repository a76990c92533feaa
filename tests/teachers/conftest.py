"""Encoders, a teacher and a table that the tests of teachers share; `harness.py` makes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.teachers.harness import PAIR, save_encoder, tuning, write_pairs
from tfb2d.config import TeacherConfig
from tfb2d.teachers.fine_tune import fine_tune
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.teacher import Teacher


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function from a family's name to the folder of its tiny encoder."""
    folders: dict[str, Path] = {}

    def find(family: str) -> Path:
        if family not in folders:
            folders[family] = save_encoder(family, tmp_path_factory.mktemp("encoders") / family)
        return folders[family]

    return find


@pytest.fixture(scope="session")
def teacher(encoder: Callable[[str], Path]) -> Teacher:
    """Returns a tiny BERT for pairs, with random weights."""
    config = TeacherConfig(preset=str(encoder("bert")), max_length=32)
    return Teacher(build_classifier(config, 1), PAIR, config.max_length)


@pytest.fixture(scope="session")
def saved(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the same teacher, saved."""
    folder = tmp_path_factory.mktemp("saved") / "bert"
    teacher.save(folder, {"preset": "tiny", "outcome": {}})
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of labelled pairs that a tiny model learns."""
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def tuned(encoder: Callable[[str], Path], pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a tiny BERT that was fine-tuned on `pairs`."""
    out = tmp_path_factory.mktemp("tuned") / "teacher"
    fine_tune(tuning(encoder("bert")), pairs, PAIR, out, progress=False)
    return out
