"""The run made by hand, which the tests of sweeps share."""

from pathlib import Path

import pytest

from tests.sweep.made_run import CONFIG, finished_run
from tfb2d.runs import Run
from tfb2d.sweep.run_data import RunData


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("sweep") / "run")


@pytest.fixture(scope="session")
def run_data(run: Path) -> RunData:
    made = RunData(Run(run), CONFIG)
    made.load()
    return made
