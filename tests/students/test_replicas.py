"""Training by several devices and processes: the same student as one process trains, also after a kill."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.killing import ROOT, module
from tests.students.cluster import CHECKPOINT, Cluster, assert_same_student, ended
from tests.students.cluster import alone as alone
from tfb2d.cluster import member
from tfb2d.config import ConfigError, RayConfig, TrainingConfig
from tfb2d.config.mapping import changed_settings
from tfb2d.students.replicas import split
from tfb2d.students.servers import tables_by_rows


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


def test_where_the_student_is_trained_is_in_no_fingerprint() -> None:
    config = TrainingConfig(strategy="ray", ray=RayConfig("auto", 3, 2.0, 0.5, 4.0))
    assert changed_settings(config) == {}


def test_an_unknown_strategy_is_said() -> None:
    with pytest.raises(ConfigError, match="mirrored, multi_worker, parameter_server"):
        TrainingConfig(strategy="horovod")


@pytest.mark.slow
def test_two_workers_train_the_student_of_one_also_after_a_kill(alone: Path) -> None:
    checkpoint = alone / "two" / CHECKPOINT
    with Cluster(alone, "two", "multi_worker", worker=2) as cluster:
        cluster.wait_for(checkpoint.exists, "worker0")
        cluster.kill("worker1")
        assert ended({"worker0": cluster.members["worker0"]}) == {"worker0": 1}
    assert "It continues from the checkpoint" in cluster.log
    assert checkpoint.exists()
    with Cluster(alone, "two", "multi_worker", worker=2) as cluster:
        assert ended(cluster.members) == {"worker0": 0, "worker1": 0}, cluster.log
    assert "continues where it stopped" in cluster.log
    assert_same_student(alone, "two")


@pytest.mark.slow
def test_two_servers_hold_the_tables_and_a_worker_comes_back(alone: Path) -> None:
    with Cluster(alone, "servers", "parameter_server", chief=1, worker=2, ps=2) as cluster:
        cluster.wait_for((alone / "servers" / CHECKPOINT).exists, "chief0")
        cluster.kill("worker1")
        cluster.start("worker1")
        assert ended(cluster.members) == dict.fromkeys(cluster.members, 0), cluster.log
    assert_same_student(alone, "servers")
