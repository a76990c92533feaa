"""Fixtures of a tiny teacher, for the tests of teachers and of scale: their conftest.py import them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.teachers.harness import PAIR, save_encoder
from tfb2d.config import TeacherConfig
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
