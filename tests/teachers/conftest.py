"""Encoders, a teacher and tables that the tests of teachers share; `harness.py` makes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.teachers.fixtures import encoder as encoder
from tests.teachers.fixtures import saved as saved
from tests.teachers.fixtures import teacher as teacher
from tests.teachers.harness import PAIR, tuning, write_pairs
from tfb2d.teachers.fine_tune import fine_tune


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
