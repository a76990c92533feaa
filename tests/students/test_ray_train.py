"""Training in workers of Ray Train: the same student as one process trains, also after a worker was killed."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.students.cluster import CHECKPOINT, assert_same_student, recipe, start
from tests.students.cluster import alone as alone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
WORKERS = "--config.training.ray.actors=2"


def test_workers_of_ray_train_the_student_of_one_also_after_a_kill(alone: Path) -> None:
    pytest.importorskip("ray.train")
    driver = start(alone, "ray", "ray", None, None, WORKERS)
    checkpoint = alone / "ray" / CHECKPOINT
    while not checkpoint.exists():
        assert driver.poll() is None, (alone / "ray.log").read_text()
        time.sleep(0.02)
    os.kill(worker_of(driver.pid), signal.SIGKILL)
    assert driver.wait(900) == 0, (alone / "ray.log").read_text()
    log = (alone / "ray.log").read_text()
    assert log.count("a worker of Ray has died, all start again") == 1
    assert "2 workers of Ray have trained it" in log
    assert_same_student(alone, "ray")


def test_a_training_that_diverges_is_not_started_again(tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    wild = "--config.training.table_learning_rate=1e38"
    assert start(recipe(tmp_path), "wild", "ray", None, None, WORKERS, wild).wait(900) == 1
    log = (tmp_path / "wild.log").read_text()
    assert "lower training.learning_rate or training.table_learning_rate" in log.splitlines()[-1]
    assert "all start again" not in log


def worker_of(driver: int) -> int:
    """The process of one of the workers that train, by its title; other clusters of this machine are left alone."""
    status = {path.parent.name: path for path in Path("/proc").glob("[0-9]*/status")}
    parents, titles = {}, {}
    for process, path in status.items():
        with contextlib.suppress(OSError):  # it has ended
            (parents[process],) = re.findall(r"PPid:\s*(\d+)", path.read_text())
            titles[process] = path.with_name("cmdline").read_text()

    def of_driver(process: str) -> bool:
        return process == str(driver) or (process in parents and of_driver(parents[process]))

    workers = [process for process, title in titles.items() if "TrainWorker" in title and of_driver(process)]
    assert len(workers) == 2, titles
    return int(workers[0])
