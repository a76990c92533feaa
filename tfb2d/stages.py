"""Stages in a run folder: what is done is skipped, what was stopped goes on, what has changed is done again."""

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from tfb2d import __version__
from tfb2d.data.files import expand, read_json, write_json
from tfb2d.errors import RunBusyError

DONE = "stage.json"
STARTED = "started.json"


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
      name: of the stage and of its folder below the run folder.
      settings: all that the outcome depends on besides `inputs`, as JSON can hold it.
      inputs: names of the stages whose outcome it reads; behind a colon, of the part of it that is read ("data:judged").
      run: does the work in the stage's folder, going on from what a stopped run left there; what it returns (a dict) is
        kept as the stage's outcome.
      content: a digest of what the finished folder holds for its readers; None goes by settings and inputs. With it, a
        stage that was done again and came out the same leaves its readers done: data files that were copied to another
        machine have new times, and hours of labelling must not depend on those.
      parts: digests of parts of the finished folder that some stages read alone: these are not done again when another
        part has changed.
    """

    name: str
    settings: Any
    inputs: tuple[str, ...]
    run: Callable[[Path], dict[str, Any]]
    content: Callable[[Path], str] | None = None
    parts: Callable[[Path], Mapping[str, str]] | None = None


def fingerprint(*parts: Any) -> str:
    """Hex digest of JSON-able values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_identity(patterns: Sequence[str]) -> list[list[Any]]:
    """Path, size and time of change of the data files that patterns name; pinned resources stand for themselves."""
    pinned = [[name] for name in patterns if name.startswith("pypi:")]
    return pinned + _stats(expand([name for name in patterns if not name.startswith("pypi:")]))


def folder_identity(folder: str) -> list[list[Any]]:
    """The same for all files below a folder; nothing where `folder` is a name of something else."""
    return _stats(sorted(path for path in Path(folder).expanduser().rglob("*") if path.is_file()))


def _stats(paths: Sequence[Path]) -> list[list[Any]]:
    stats = ((path, path.stat()) for path in paths)
    return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]


class StageRunner:
    """Runs stages in a run folder, one process at a time.

    Args:
      workdir: the run folder.
    """

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self._fingerprints: dict[str, str] = {}

    def run(self, stage: Stage) -> dict[str, Any]:
        """Brings one stage up to date and returns its outcome."""
        folder = self.workdir / stage.name
        print_ = fingerprint(
            __version__, stage.name, stage.settings, [self._fingerprints[name] for name in stage.inputs]
        )
        self._fingerprints[stage.name] = print_
        last = last_of(folder)
        if _json(last / DONE).get("fingerprint") == print_:  # a change was taken back before its outcome was there
            remove(folder)
            last.rename(folder)
        done = _json(folder / DONE)
        if done.get("fingerprint") == print_:
            logging.info("%s: done before, skipped", stage.name)
            self._settle(stage, folder, done)
            return done["outcome"]
        started = _json(folder / STARTED)
        if started.get("fingerprint") != print_:
            if done:
                logging.info("%s: settings or inputs have changed, done again", stage.name)
                remove(last)
                folder.rename(last)  # the last good state, kept until there is a new one
            remove(folder)
            started = {"fingerprint": print_, "seconds": 0.0}
        else:
            logging.info("%s: goes on from where it stopped", stage.name)
            for leftover in folder.rglob(".*.tmp"):  # of writes that a kill cut short
                leftover.unlink() if leftover.is_file() else shutil.rmtree(leftover)
        write_json(folder / STARTED, started)
        logging.info("%s ...", stage.name)
        begin = time.monotonic()
        try:
            outcome = stage.run(folder)
        finally:
            started["seconds"] += round(time.monotonic() - begin, 3)
            if folder.exists():
                write_json(folder / STARTED, started)
        done = {"fingerprint": print_, "seconds": started["seconds"], "outcome": outcome}
        if stage.content is not None:
            done["content"] = fingerprint(outcome, stage.content(folder))
        write_json(folder / DONE, done)
        self._settle(stage, folder, done)
        remove(last)
        logging.info("%s: %.0f s", stage.name, started["seconds"])
        return outcome

    def _settle(self, stage: Stage, folder: Path, done: Mapping[str, Any]) -> None:
        """Takes down what stands for a finished stage, and for its parts, in the fingerprints of its readers."""
        self._fingerprints[stage.name] = outcome_identity(done)
        if stage.parts is not None:
            self._fingerprints.update({f"{stage.name}:{name}": one for name, one in stage.parts(folder).items()})

    def forget(self, stages: Sequence[Stage], names: Iterable[str]) -> None:
        """Deletes the outcomes of some stages, and of those that read them, so that a stopped run goes on with them all."""
        gone = set(names)
        for stage in stages:
            if gone & {stage.name, *(name.partition(":")[0] for name in stage.inputs)}:
                gone.add(stage.name)
                folder = self.workdir / stage.name
                remove(folder)
                remove(last_of(folder))

    def seconds(self) -> dict[str, float]:
        """Seconds that each finished stage took, stopped tries that could say so included."""
        times = {}
        for name in self._fingerprints:
            done = _json(self.workdir / name / DONE)
            if "seconds" in done:
                times[name] = done["seconds"]
        return times


def outcome_identity(done: Mapping[str, Any]) -> str:
    """What stands for a finished stage in the fingerprints of those that read it; `done` is its `stage.json`."""
    return str(done.get("content", done["fingerprint"]))


def last_of(folder: Path) -> Path:
    """Where a stage's last finished folder is kept until its new outcome is there; it need not exist."""
    return folder.with_name(f".{folder.name}.last")


def remove(folder: Path) -> None:
    """Deletes a stage's folder; what says that it is whole, or can be gone on with, goes first."""
    for mark in (DONE, STARTED):
        (folder / mark).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds a run folder for this process; the lock goes with the process, however it ends.

    Raises:
      RunBusyError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunBusyError(f"{workdir}: another process is at work in this run folder") from error
        yield


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
