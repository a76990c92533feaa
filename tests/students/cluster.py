"""The harness of trainings by several processes: a recipe, a cluster on this machine, the student of one process."""

import csv
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.killing import ROOT, module
from tfb2d.atomic import read_json

RECIPE = """
from tfb2d.config import *

def get_config():
    return Config(
        data=DataConfig(train=("judged.tsv",), fields=("query", "title"), valid_fraction=0.2, test_fraction=0.2),
        teachers={"crowd": TeacherConfig(logits=("scores.tsv",))},
        student=StudentConfig(buckets=BUCKETS, soft_buckets=4100, dim=DIM, ffn=(16,), dropout=0.0, ngram_dropout=0.0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=32, table_learning_rate=0.2, checkpoint_seconds=SECONDS),
        report=ReportConfig(labels_only=False),
    ).to_dict()
"""
CHECKPOINT = "student/checkpoints/state.safetensors"
FIGURES, WEIGHTS = (
    1e-4,
    1e-3,
)  # tolerances of a loss and, on average, of a weight; `assert_same` in two_devices.py says why


def recipe(folder: Path, epochs: int = 8, buckets: int = 5000, dim: int = 8, seconds: float = 0.0) -> Path:
    """Judged pairs and a crowd's scores of them, with the recipe that trains on these."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(300)])
    rows = [(" ".join(rng.choice(words, 3)), " ".join(rng.choice(words, 6))) for _ in range(700)]
    logits = [8.0 * (len(set(query.split()) & set(title.split())) > 0) - 4 for query, title in rows]
    files = {"judged.tsv": ("label", [int(logit > 0) for logit in logits]), "scores.tsv": ("logit", logits)}
    for name, (column, values) in files.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t")
            writer.writerow(["query", "title", column])
            writer.writerows([*row, value] for row, value in zip(rows, values, strict=True))
    text = RECIPE
    for name, value in {"EPOCHS": epochs, "BUCKETS": buckets, "DIM": dim, "SECONDS": seconds}.items():
        text = text.replace(name, str(value))
    (folder / "recipe.py").write_text(text, encoding="utf-8")
    return folder


def start(
    folder: Path,
    workdir: str,
    strategy: str,
    config: Mapping | None = None,
    variables: Mapping[str, str] | None = None,
    *flags: str,
) -> subprocess.Popen:
    """Starts the command that every member runs."""
    command = module(
        "tfb2d.train",
        "--config=recipe.py",
        f"--workdir={workdir}",
        f"--config.training.strategy={strategy}",
        "--until=student",
        *flags,
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)
    with (folder / f"{workdir}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


class Cluster:
    """A cluster of processes on this machine; whoever is left at the end is killed.

    Attributes:
      members: the processes, by kind and number: "worker0".
      variables: of their environment, by kind.
    """

    def __init__(self, folder: Path, workdir: str, strategy: str, **sizes: int) -> None:
        self.folder, self.workdir, self.strategy = folder, workdir, strategy
        self.variables: dict[str, Mapping[str, str]] = {}
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(sum(sizes.values()))]
        addresses = iter([f"127.0.0.1:{each.getsockname()[1]}" for each in sockets])
        for each in sockets:
            each.close()
        addressed = {kind: [next(addresses) for _ in range(size)] for kind, size in sizes.items()}
        self.tasks = {
            f"{kind}{index}": {"cluster": addressed, "task": {"type": kind, "index": index}}
            for kind, size in sizes.items()
            for index in range(size)
        }
        self.members: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        for name in self.tasks:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.members:
            self.kill(name)

    def start(self, name: str) -> None:
        """Starts a member, or starts it again."""
        task = self.tasks[name]
        variables = self.variables.get(task["task"]["type"])
        self.members[name] = start(self.folder, self.workdir, self.strategy, task, variables)

    def kill(self, name: str) -> None:
        """Kills a member."""
        self.members[name].kill()
        self.members[name].wait()

    def wait_for(self, ready: Callable[[], bool], chief: str) -> None:
        """Waits for what the chief does."""
        while not ready():
            assert self.members[chief].poll() is None, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """What all have written."""
        return (self.folder / f"{self.workdir}.log").read_text()


def ended(processes: Mapping[str, subprocess.Popen], seconds: float = 1500) -> dict[str, int]:
    """Waits for processes, and returns how they ended."""
    deadline = time.monotonic() + seconds
    return {name: process.wait(max(1.0, deadline - time.monotonic())) for name, process in processes.items()}


def assert_same_student(folder: Path, workdir: str) -> None:
    """Compares with what one process trained in `alone`."""
    weights, expected = (load_file(folder / name / "student" / "weights.safetensors") for name in (workdir, "alone"))
    for (name, mine), other in zip(sorted(weights.items()), (expected[key] for key in sorted(expected)), strict=True):
        assert np.abs(mine.astype(np.float64) - other).mean() < WEIGHTS, name
    histories = [read_json(folder / name / "student" / "history.json") for name in (workdir, "alone")]
    for mine, other in zip(*histories, strict=True):
        for name in ("loss", "valid_loss"):
            assert mine[name] == pytest.approx(other[name], abs=FIGURES)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and a run by one process."""
    folder = recipe(tmp_path_factory.mktemp("cluster"))
    assert start(folder, "alone", "").wait(900) == 0, (folder / "alone.log").read_text()
    return folder
