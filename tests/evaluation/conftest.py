from pathlib import Path

import pytest

from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS, export
from tfb2d.evaluation.scorer import Scorer


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns model folders with one version each, by the task's kind."""
    root = tmp_path_factory.mktemp("models")
    return {task.kind: export(root / task.kind / "1", task).parent for task in (REVIEWS, PAIRS, NEWS)}


@pytest.fixture(scope="session")
def scorers(models: dict[str, Path]) -> dict[str, Scorer]:
    return {kind: Scorer(folder) for kind, folder in models.items()}
