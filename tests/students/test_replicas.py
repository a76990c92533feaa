"""Training by several devices and processes: the same student as one process trains, also after a kill."""

import csv
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tests.killing import ROOT, module
from tfb2d.atomic import read_json
from tfb2d.cluster import member
from tfb2d.config import ConfigError, TrainingConfig
from tfb2d.students.replicas import split
from tfb2d.students.servers import tables_by_rows

RECIPE = """
from tfb2d.config import *

def get_config():
    return Config(
        data=DataConfig(train=("judged.tsv",), fields=("query", "title"), valid_fraction=0.2, test_fraction=0.2),
        teachers={"crowd": TeacherConfig(logits=("scores.tsv",))},
        student=StudentConfig(buckets=5000, soft_buckets=4100, dim=8, ffn=(16,), dropout=0.0, ngram_dropout=0.0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=32, table_learning_rate=0.2, checkpoint_seconds=0.0),
        report=ReportConfig(labels_only=False),
    ).to_dict()
"""
CHECKPOINT = "student/checkpoints/state.safetensors"
FIGURES, WEIGHTS = (
    1e-4,
    1e-3,
)  # tolerances of a loss, and of a weight on average; `assert_same` in two_devices.py says why


@pytest.mark.slow  # a process with TensorFlow for each side
@pytest.mark.parametrize("what", ["text", "pair", "drop"])
def test_two_devices_train_the_student_of_one(what: str, tmp_path: Path) -> None:
    command = module("tests.students.two_devices", what, str(tmp_path))
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=900)


@given(n=st.integers(0, 1000), parts=st.integers(1, 9))
def test_a_batch_is_split_evenly(n: int, parts: int) -> None:
    bounds = split(n, parts)
    sizes = np.diff(bounds)
    assert (bounds[0], bounds[-1], len(sizes)) == (0, n, parts)
    assert sizes.max() - sizes.min() <= 1


def test_tables_are_split_by_rows_and_nothing_else_is() -> None:
    partitioner = tables_by_rows(3)
    shapes = ((2**18, 64), (4096, 8), (4095, 8), (2048, 1024), (2**20,), ())
    assert [list(partitioner(shape, None)) for shape in shapes] == [[3, 1], [3, 1], [1, 1], [1, 1], [1], []]


WORKERS = {"worker": ["a:1", "b:1"]}
SERVERS = {"chief": ["c:1"], **WORKERS, "ps": ["d:1"]}


@pytest.mark.parametrize(
    ("strategy", "cluster", "kind", "index", "expected"),
    [
        ("multi_worker", WORKERS, "worker", 0, (True, 0, 2)),
        ("multi_worker", WORKERS, "worker", 1, (False, 1, 2)),
        ("multi_worker", {"chief": ["c:1"], **WORKERS}, "worker", 0, (False, 1, 3)),
        ("multi_worker", {"chief": ["c:1"], **WORKERS}, "chief", 0, (True, 0, 3)),
        ("parameter_server", SERVERS, "chief", 0, (True, 0, 3)),
        ("parameter_server", SERVERS, "worker", 0, (False, 1, 3)),
    ],
)
def test_tf_config_says_who_is_chief(
    strategy: str, cluster: Mapping, kind: str, index: int, expected: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
    me = member(strategy)
    assert (me.is_chief, me.rank, me.trainers) == expected


@pytest.mark.parametrize(
    ("strategy", "value", "message"),
    [
        ("multi_worker", "", "reads the environment variable TF_CONFIG"),
        ("multi_worker", "{", "cannot be read"),
        ("multi_worker", json.dumps({"cluster": WORKERS}), "cannot be read"),
        (
            "multi_worker",
            json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 2}}),
            "is not in the cluster",
        ),
        (
            "multi_worker",
            json.dumps({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}),
            "list of addresses",
        ),
        ("multi_worker", json.dumps({"cluster": SERVERS, "task": {"type": "ps", "index": 0}}), "not ps"),
        ("parameter_server", json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": 0}}), "chief, ps"),
    ],
)
def test_a_wrong_tf_config_is_said(strategy: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ConfigError, match=message):
        member(strategy)


def test_an_unknown_strategy_is_said() -> None:
    with pytest.raises(ConfigError, match="mirrored, multi_worker, parameter_server"):
        TrainingConfig(strategy="horovod")


def recipe(folder: Path, epochs: int = 8) -> Path:
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
    (folder / "recipe.py").write_text(RECIPE.replace("EPOCHS", str(epochs)), encoding="utf-8")
    return folder


def start(folder: Path, workdir: str, strategy: str, config: Mapping | None = None) -> subprocess.Popen:
    """Starts the command that every member runs."""
    command = module(
        "tfb2d.train",
        "--config=recipe.py",
        f"--workdir={workdir}",
        f"--config.training.strategy={strategy}",
        "--until=student",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)
    with (folder / f"{workdir}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


class Cluster:
    """A cluster of processes on this machine; whoever is left at the end is killed.

    Attributes:
      members: the processes, by kind and number: "worker0".
    """

    def __init__(self, folder: Path, workdir: str, strategy: str, **sizes: int) -> None:
        self.folder, self.workdir, self.strategy = folder, workdir, strategy
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
        self.members[name] = start(self.folder, self.workdir, self.strategy, self.tasks[name])

    def kill(self, name: str) -> None:
        """Kills a member."""
        self.members[name].kill()
        self.members[name].wait()

    def wait_for(self, path: Path, chief: str) -> None:
        """Waits for a file that the chief writes."""
        while not path.exists():
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


@pytest.mark.slow
def test_two_workers_train_the_student_of_one_also_after_a_kill(alone: Path) -> None:
    checkpoint = alone / "two" / CHECKPOINT
    with Cluster(alone, "two", "multi_worker", worker=2) as cluster:
        cluster.wait_for(checkpoint, "worker0")
        cluster.kill("worker1")
        assert ended({"worker0": cluster.members["worker0"]}) == {"worker0": 1}
    assert "It goes on from the checkpoint" in cluster.log
    assert checkpoint.exists()
    with Cluster(alone, "two", "multi_worker", worker=2) as cluster:
        assert ended(cluster.members) == {"worker0": 0, "worker1": 0}, cluster.log
    assert "goes on from where it stopped" in cluster.log
    assert_same_student(alone, "two")


@pytest.mark.slow
def test_two_servers_hold_the_tables_and_a_worker_comes_back(alone: Path) -> None:
    with Cluster(alone, "servers", "parameter_server", chief=1, worker=2, ps=2) as cluster:
        cluster.wait_for(alone / "servers" / CHECKPOINT, "chief0")
        cluster.kill("worker1")
        cluster.start("worker1")
        assert ended(cluster.members) == dict.fromkeys(cluster.members, 0), cluster.log
    assert_same_student(alone, "servers")
