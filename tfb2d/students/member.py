"""One of several processes that train a run's student together; the chief starts its own from the stage `student`.

It is a process of its own because TensorFlow joins a cluster before its first op, and the stages before have used
TensorFlow. All members read the run folder, so it lies where all can read it. The chief alone writes.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from absl import logging

from tfb2d.atomic import read_json, write_json
from tfb2d.cluster import member
from tfb2d.config import Config
from tfb2d.errors import MemberGoneError, RunError
from tfb2d.outcomes import StudentOutcome
from tfb2d.resume import CHECKPOINTS
from tfb2d.runs import Run

OUTCOME = "outcome.json"  # in the checkpoints' folder: what the chief's process hands to the stage


def train_as_chief(run: Run, config: Config) -> StudentOutcome:
    """Trains the student in a process of its own, together with the other members, and returns the stage's outcome.

    Raises ConfigError where TF_CONFIG is missing or wrong; RunError where the training ended early.
    """
    member(config.training.strategy)
    command = [sys.executable, "-m", "tfb2d.students.member", str(run.folder), str(int(run.progress))]
    # The pipe ends with this process, however that ends, and the child with the pipe: no second writer is left.
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        ended = process.wait()
    if ended:
        raise RunError(
            f"{run.folder}: the training of the student ended early (exit status {ended}). A member of the cluster may be "
            "gone: start the job again on all members. It continues from the checkpoint."
        )
    return StudentOutcome.from_json(read_json(run.student / CHECKPOINTS / OUTCOME))


def train_as_member(run: Run, config: Config) -> StudentOutcome:
    """Joins the cluster and trains the student; the first that this process does with TensorFlow.

    Raises MemberGoneError where another member is gone; RunError without memory for this member's part of the tables.
    """
    from tfb2d.students.strategy import joined

    me = member(config.training.strategy)
    logging.info("student: %s %d of %s joins", me.kind, me.index, json.dumps(me.cluster))
    joined(config.training.strategy)
    logging.info("student: all members are there")
    import tensorflow as tf

    from tfb2d.students.fit import train_student

    try:
        return train_student(run, config)
    except tf.errors.ResourceExhaustedError as error:
        lines = error.message.splitlines()
        more = "; more parameter servers hold smaller parts of the tables" if "ps" in me.cluster else ""
        raise RunError(
            f"{me.kind} {me.index}: a member of the cluster has no more memory{more}: "
            f"{next((line for line in lines if 'OOM' in line), lines[0])}"
        ) from error
    except (
        tf.errors.UnavailableError,
        tf.errors.InternalError,
        tf.errors.CancelledError,
        tf.errors.AbortedError,
    ) as error:
        raise MemberGoneError(
            f"{me.kind} {me.index}: another member of the cluster is gone ({type(error).__name__}); start the job again on "
            "all members. It continues from the checkpoint."
        ) from error


def train_on_workers(run: Run, config: Config) -> StudentOutcome:
    """Trains the student in workers of Ray Train, waits for them, and returns the stage's outcome.

    Raises ClusterError where Ray Train is not installed or no cluster answers, RunError where workers died again and
    again, and what the training raised in a worker.
    """
    from tfb2d.scale.ray_cluster import train_on_ray

    outcome = run.student / CHECKPOINTS / OUTCOME
    outcome.unlink(missing_ok=True)
    arguments = {"folder": str(run.folder.absolute())}
    workers = train_on_ray(_train_as_worker, arguments, run.student / CHECKPOINTS / "ray", config.training.ray)
    if not outcome.exists():
        raise RunError(f"{outcome} is not here, though Ray's workers wrote it; all machines must share the run folder")
    logging.info("student: %d workers of Ray have trained it", workers)
    return StudentOutcome.from_json(read_json(outcome))


def _train_as_worker(arguments: dict[str, Any]) -> None:
    """Trains the student in a worker of Ray Train, which has set TF_CONFIG."""
    run = Run(Path(arguments["folder"]), progress=False)
    config = run.config()
    config = replace(config, training=replace(config.training, strategy="multi_worker"))
    outcome = train_as_member(run, config)
    if member("multi_worker").is_chief:
        write_json(run.student / CHECKPOINTS / OUTCOME, outcome.to_json())


def leave(error: str = "") -> NoReturn:
    """Ends a member's process at once: TensorFlow's servers cannot be stopped, and a cluster's threads may wait."""
    if error:
        print(f"error: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if error else 0)


def main(folder: Path, progress: bool) -> None:
    """Trains a run's student as the chief; the stage that started this process waits for it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run = Run(folder, progress)
    try:
        outcome = train_as_member(run, run.config())
    except RunError as error:
        leave(str(error))
    write_json(run.student / CHECKPOINTS / OUTCOME, outcome.to_json())
    leave()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    main(Path(sys.argv[1]), sys.argv[2] == "1")
