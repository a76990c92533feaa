"""Goes on after a kill: a folder of work records the settings and inputs that it is made from and, once whole, its outcome.

All stages of a run, labelling files and a sweep's trainings use `bring_up`. It makes sure that the folder's contents were
made from the same settings and inputs. So shards and checkpoints that a stopped run left are valid, and the work needs no
fingerprints of its own. Every file in the folder is written atomically.

Work from other settings or inputs is renamed, and deleted only when the new outcome is complete. So a change that is taken
back finds its state again, and labelling reuses the logits in it.
"""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from tfb2d.atomic import read_json, write_json
from tfb2d.errors import RunError
from tfb2d.outcomes import OutcomeT

RECORD = "_stage.json"  # readers of Parquet folders pass over names with an underscore
CHECKPOINTS = "checkpoints"  # subfolder with the state of a stopped run; deleted once the work is whole
TEMPORARY = ".*.tmp"  # files and folders of writes that a kill cut short
GONE = ".gone.tmp"  # end of the names of folders that are being deleted


@dataclass(frozen=True)
class Record:
    """Holds what `_stage.json` in a folder says."""

    fingerprint: str  # of the settings and inputs that the folder is made from
    seconds: float = 0.0  # that the work has taken, stopped tries included
    outcome: Mapping[str, Any] | None = None  # what the work returned, as JSON; None where it is not finished
    contents: Mapping[str, str] = field(default_factory=dict)  # digests of what is read: "" of all, or names of parts

    @property
    def finished(self) -> bool:
        """Says whether the folder is whole."""
        return self.outcome is not None

    def identity(self, part: str = "") -> str:
        """Returns what stands for the folder, or a part of it, in the fingerprints of its readers."""
        return self.contents.get(part, self.fingerprint)


def fingerprint(*parts: Any) -> str:
    """Returns a hex digest of values that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_record(folder: Path) -> Record | None:
    """Returns what a folder of work says of itself, or None where it is none."""
    path = folder / RECORD
    if not path.exists():
        return None
    known = {item.name for item in dataclasses.fields(Record)}  # a later version may say more
    return Record(**{name: value for name, value in read_json(path).items() if name in known})


def write_record(folder: Path, record: Record) -> None:
    """Writes `_stage.json`, atomically."""
    write_json(folder / RECORD, dataclasses.asdict(record))


def is_finished(folder: Path) -> bool:
    """Says whether a folder of work is whole."""
    record = read_record(folder)
    return record is not None and record.finished


def bring_up(
    folder: Path,
    made_from: str,
    work: Callable[[Path], OutcomeT],
    kind: type[OutcomeT],
    contents: Callable[[Path, OutcomeT], Mapping[str, str]] | None = None,
    name: str = "",
) -> OutcomeT:
    """Makes a folder of work whole, and returns the outcome, a `kind`. Finished work is skipped, stopped work resumed.

    Args:
      made_from: fingerprint of all that the outcome depends on.
      work: does the work in the folder; finds there what a stopped run of the same fingerprint left.
      contents: digests of the finished folder, see `Record`; None goes by the fingerprint. With them, work that was done
        again and came out the same leaves its readers done.
      name: of the work, for the log; by default the folder's.

    Raises:
      RunError: the folder holds files that are not of such work.
    """
    name = name or folder.name
    _restore(folder, made_from)
    record = read_record(folder)
    if record is not None and record.fingerprint == made_from and record.outcome is not None:
        outcome = kind.from_json(record.outcome)
        if outcome.is_intact():
            logging.info("%s: done before, skipped", name)
            _clean(folder)
            return outcome
        logging.info("%s: what it made elsewhere is gone, done again", name)
        record = dataclasses.replace(record, outcome=None, contents={})
    elif record is not None and record.fingerprint == made_from:
        logging.info("%s: continues where it stopped", name)
        for path in list(folder.rglob(TEMPORARY)):
            _delete(path)
    else:
        if record is not None:
            logging.info("%s: settings or inputs have changed, done again", name)
            folder.rename(_aside(folder, record.fingerprint))
        elif _is_foreign(folder):
            raise RunError(f"{folder} holds files that this version of tfb2d did not make; name another folder")
        record = Record(made_from)
    write_record(folder, record)
    logging.info("%s ...", name)
    begin = time.monotonic()
    try:
        outcome = work(folder)
    finally:
        seconds = record.seconds + round(time.monotonic() - begin, 3)
        record = dataclasses.replace(record, seconds=seconds)
        if folder.exists():
            write_record(folder, record)
    made = {} if contents is None else dict(contents(folder, outcome))
    write_record(folder, dataclasses.replace(record, outcome=outcome.to_json(), contents=made))
    _clean(folder)
    logging.info("%s: %.0f s", name, record.seconds)
    return outcome


def set_aside(folder: Path) -> list[Path]:
    """Returns the folders of earlier states, finished or not, that are kept until `folder` is whole."""
    return [path for path in sorted(folder.parent.glob(f".{folder.name}.*.aside")) if (path / RECORD).exists()]


def remove(folder: Path) -> None:
    """Deletes a folder of work and its earlier states."""
    if folder.exists():
        _delete(folder)
    _clean(folder)


def _restore(folder: Path, made_from: str) -> None:
    """Puts the earlier state with this fingerprint, if there is one, back in the folder's place."""
    earlier = _aside(folder, made_from)
    if not earlier.exists():
        return
    record = read_record(folder)
    if record is not None:
        folder.rename(_aside(folder, record.fingerprint))
    elif folder.exists() and not _is_foreign(folder):
        _delete(folder)
    if not folder.exists():
        earlier.rename(folder)


def _is_foreign(folder: Path) -> bool:
    """Says whether a folder without a record holds more than what a killed write leaves."""
    return folder.exists() and any(not path.match(TEMPORARY) for path in folder.iterdir())


def _aside(folder: Path, made_from: str) -> Path:
    return folder.with_name(f".{folder.name}.{made_from[:12]}.aside")


def _clean(folder: Path) -> None:
    """Deletes what a finished folder no longer needs: checkpoints, earlier states, and deletions that a kill cut short."""
    if (folder / CHECKPOINTS).exists():
        _delete(folder / CHECKPOINTS)
    beside = [path for path in folder.parent.glob(f".{folder.name}.*") if path.name.endswith((".aside", GONE))]
    for path in [*folder.glob(f".*{GONE}"), *beside]:
        _delete(path)


def _delete(path: Path) -> None:
    """Deletes a file or a folder; a folder disappears at once, so that a kill leaves nothing that looks whole."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    trash = path if path.name.endswith(GONE) else path.with_name(f".{path.name.strip('.')}{GONE}")
    if trash != path:
        shutil.rmtree(trash, ignore_errors=True)
        path.rename(trash)
    shutil.rmtree(trash)
