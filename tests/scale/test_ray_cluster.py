"""A real cluster of three machines, as processes on this one: machines, actors and drivers are killed (SIGKILL)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.killing import ROOT, python, run_and_kill
from tests.scale.jobs import content
from tfb2d.config import LabelConfig
from tfb2d.teachers.label import label_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NODE = """
import json, sys, time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
sizes = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
nodes = [cluster.add_node(wait=False, **sizes) for _ in range(int(sys.argv[1]))]
cluster.wait_for_nodes(timeout=300)
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""
DRIVER = """
from pathlib import Path
from tests.scale.jobs import SlowLabelJob
from tfb2d.config import LabelConfig, RayConfig
from tfb2d.teachers import label
label.LabelJob = SlowLabelJob
config = LabelConfig(16, 256, "ray", RayConfig({address!r}, actors={actors}))
label.label_folder(Path({saved!r}), Path({source!r}), Path({out!r}), config, progress=False)
"""
SMALL = LabelConfig(16, 256)
VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "300"}


class ThreeMachines:
    """A head without CPUs, and workers with a CPU each."""

    def __init__(self, workers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NODE, str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
        assert line, "the cluster did not start"
        self.address = json.loads(line)["address"]

    def kill_a_machine(self) -> None:
        """Kills the raylet of a worker, and with it all its processes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == "killed"

    def close(self) -> None:
        """Ends the cluster."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(120)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ThreeMachines]:
    pytest.importorskip("ray")
    machines = ThreeMachines(2)
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def small_shards(saved: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("small") / "local"
    label_folder(saved, source, out, SMALL, progress=False)
    return content(out)


def test_the_only_actor_is_killed_twice(
    cluster: ThreeMachines, saved: Path, source: Path, small_shards: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = _started(_code(cluster, 1, saved, source, out))
    for shards in (2, 12):
        _wait(lambda shards=shards: len(list(out.glob("part-*"))) > shards, driver)
        process = max(out.glob("_*.process"), key=lambda path: path.stat().st_mtime_ns)
        os.kill(int(process.stem[1:]), signal.SIGKILL)
    assert driver.wait(900) == 0
    assert len(list(out.glob("_*.process"))) == 3
    assert content(out) == small_shards


def test_a_machine_is_killed_and_then_the_driver(
    cluster: ThreeMachines, saved: Path, source: Path, small_shards: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code = _code(cluster, 2, saved, source, out)

    def later() -> bool:
        return len(list(out.glob("part-*"))) > 3

    run_and_kill(python(code), later, 1.0)
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 0 < len(before) < len(small_shards)  # perhaps with holes

    driver = _started(code)
    _wait(lambda: len(list(out.glob("part-*"))) > len(before) + 2, driver)
    cluster.kill_a_machine()
    assert len(list(out.glob("part-*"))) < len(small_shards)
    assert driver.wait(900) == 0  # no machine has room for the second actor any more; the first does its work
    assert content(out) == small_shards
    assert before == {path: path.stat().st_mtime_ns for path in before}


def _code(cluster: ThreeMachines, actors: int, saved: Path, source: Path, out: Path) -> str:
    paths = {"saved": str(saved), "source": str(source), "out": str(out)}
    return DRIVER.format(address=cluster.address, actors=actors, **paths)


def _started(code: str) -> subprocess.Popen:
    return subprocess.Popen(python(code), env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"})


def _wait(ready: Callable[[], bool], driver: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    while not ready():
        assert driver.poll() is None, "the driver ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.1)
