"""Runs the stages of a run folder: what is done is skipped, what was stopped is resumed.

Only commands and `import tfb2d` (for `tfb2d.distil`) take anything from here. `stages.py` lists the stages.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from absl import logging

from tfb2d.config import Config, ConfigError
from tfb2d.outcomes import Outcome, ReportOutcome
from tfb2d.resume import bring_up, fingerprint, remove
from tfb2d.runs import Run
from tfb2d.stages import Stage, stages
from tfb2d.students import stage as students

FOLLOW_SECONDS = 2.0  # between two looks at the chief's run folder


def distil(config: Config, workdir: str | Path = "", progress: bool = True) -> ReportOutcome:
    """Trains a student from raw rows to a served model. Called again, it continues where it stopped.

    Args:
      config: what to do.
      workdir: the run folder; by default `runs/<config.name>`.
      progress: whether to show progress bars.

    Returns:
      The report's table as text, the page's path, and the exported model's folder, which `tfb2d.load` takes.

    Raises:
      ConfigError, DataError, RunError, RunBusyError, FloatingPointError: see `run`.
    """
    return cast(ReportOutcome, run(Run(Path(workdir or Path("runs") / config.name), progress), config))


def run(run: Run, config: Config, until: str = "", force: Sequence[str] = ()) -> Outcome:
    """Brings all stages up to `until` up to date: what is done is skipped, what was stopped is resumed.

    Args:
      run: the run folder.
      config: what to do.
      until: name of the last stage; "" takes all.
      force: names of stages to do anew, and with them all that read them.

    Returns:
      The last stage's outcome; a `ReportOutcome` where `until` is "".

    Raises:
      ConfigError: there is no stage of a name in `until` or `force`, or settings that cannot work.
      RunBusyError: another process is at work in the run folder.
      RunError: the folder holds something else, or a run of tfb2d 0.1.
      DataError: input that cannot be used.
      FloatingPointError: training diverged.
    """
    todo = stages(config)
    names = [stage.name for stage in todo]
    for name in (*force, *([until] if until else [])):
        if name not in names:
            raise ConfigError(f"there is no stage {name!r}; this run has {', '.join(names)}")
    last = names.index(until or names[-1])
    with run.locked():
        run.check_version()
        run.write_config(config)
        _forget(run, todo, force)
        for stage in todo[: last + 1]:
            outcome = bring_up(
                run.folder / stage.name,
                _fingerprint(run, stage),
                lambda _, stage=stage: stage.work(run, config),  # type: ignore[misc]
                stage.kind,
                stage.contents,
                stage.name,
            )
    return outcome


def follow(run: Run, config: Config) -> None:
    """Helps the chief, which runs the stages, to train the student; returns once it is trained.

    Workers that train along wait until the chief has come to the stage `student` with the same settings and inputs.
    Parameter servers and their workers do what the chief sends them.
    """
    (stage,) = (stage for stage in stages(config) if stage.name == "student")
    logging.info("student: waits for the chief in %s", run.folder)
    trains = config.training.strategy == "multi_worker"
    server = None if trains else students.start_server()  # lives as long as this variable
    while True:
        record = run.record(stage.name)
        read = [name.partition(":")[0] for name in stage.reads]
        if record is not None and all(map(run.finished, read)) and record.fingerprint == _fingerprint(run, stage):
            if record.finished:
                break
            if trains:
                return students.train_along(run, config)
        time.sleep(FOLLOW_SECONDS)
    del server


def _fingerprint(run: Run, stage: Stage) -> str:
    """Returns what a stage's outcome is known by; the stages that it reads are finished."""
    return fingerprint(stage.name, stage.version, stage.settings, [_identity(run, name) for name in stage.reads])


def _identity(run: Run, name: str) -> str:
    """Returns what stands for a finished stage, or a part of it, in the fingerprints of its readers."""
    stage, _, part = name.partition(":")
    record = run.record(stage)
    assert record is not None  # stages are listed after those that they read
    return record.identity(part)


def _forget(run: Run, todo: Sequence[Stage], names: Sequence[str]) -> None:
    """Deletes the outcomes of some stages, and of those that read them, so that a stopped run continues with them all."""
    gone = set(names)
    for stage in todo:
        if gone & {stage.name, *(name.partition(":")[0] for name in stage.reads)}:
            gone.add(stage.name)
    for stage in reversed(todo):
        if stage.name in gone:
            remove(run.folder / stage.name)
