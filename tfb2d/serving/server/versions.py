"""Finds a model's version folders and keeps its versions' lives, for `models`.

States are those of ModelVersionStatus: START, LOADING, AVAILABLE, UNLOADING, END.
"""

import contextlib
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from tfb2d.serving.server.configuration import ModelSettings
from tfb2d.serving.server.errors import StatusError
from tfb2d.serving.server.servable import Servable

State = get_model_status_pb2.ModelVersionStatus
_NUMBER = re.compile(r"\s*\+?([0-9]+)\s*\Z", re.ASCII)  # what absl::SimpleAtoi reads, less the negative ones
_log = logging.getLogger(__name__)


def scan(base_path: str) -> dict[int, str] | None:
    """Returns the version folders below a base path, as number -> path; None where the base path cannot be read.

    "000007" is version 7, names that are not numbers are passed over.
    """
    folders: dict[int, str] = {}
    try:
        with os.scandir(base_path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                match = _NUMBER.match(entry.name)
                if match and int(match[1]) < 2**63 and entry.is_dir():
                    folders.setdefault(int(match[1]), str(Path(base_path, entry.name)))
    except OSError:
        return None
    return folders


def choose(folders: dict[int, str], policy: Any) -> list[int]:
    """Returns the versions that a ServableVersionPolicy chooses, highest first; the default is the latest one."""
    numbers = sorted(folders, reverse=True)
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        return [number for number in numbers if number in policy.specific.versions]
    return numbers if kind == "all" else numbers[: max(1, policy.latest.num_versions)]


def fingerprint(folder: str) -> tuple[float, frozenset]:
    """Returns what shows that a folder's content changed.

    Returns:
      The latest change time of anything in the folder (seconds since 1970; its own where it is empty), and a
      (path, inode, size, change time in ns) per entry. Change times, unlike modification times, cannot be set: a copy that
      keeps dates is seen while it is made, and a finished folder that is renamed into place counts as old.
    """
    entries = set()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                stat = os.stat(path := os.path.join(parent, name))
                entries.add((path, stat.st_ino, stat.st_size if name in files else 0, stat.st_ctime_ns))
    latest = max((changed for *_, changed in entries), default=0)
    if not entries:
        with contextlib.suppress(OSError):
            latest = os.stat(folder).st_ctime_ns
    return latest / 1e9, frozenset(entries)


def wait_until_settled(folder: str, seconds: float, cancelled: threading.Event) -> frozenset:
    """Waits until nothing in a folder has changed for so long, and returns its fingerprint.

    A change time may lie in the future, by another machine's clock on a network drive. It counts as settled once it has
    not changed for `seconds` by this machine's clock.
    """
    seen: frozenset | None = None
    since = time.monotonic()
    while True:
        latest, content = fingerprint(folder)
        if content != seen:
            seen, since = content, time.monotonic()
        age = time.time() - latest
        if age >= seconds or time.monotonic() - since >= seconds or cancelled.wait(min(0.1, max(0.01, seconds / 4))):
            return content


class Version:
    """Is a version of a model; `models` changes its state, requests take it and give it back."""

    def __init__(self, name: str, number: int, path: str) -> None:
        self.name = name
        self.number = number
        self.path = path
        self.state = State.START
        self.error: StatusError | None = None
        self.servable: Servable | None = None
        self.aspired = True
        self.cancelled = threading.Event()
        self.content: frozenset = frozenset()
        self._users = 0
        self._lock = threading.Lock()
        self._unused = threading.Event()

    @property
    def failed(self) -> bool:
        """Says whether it could not be loaded and still should be."""
        return self.state == State.END and self.aspired and self.error is not None

    def changed_since(self) -> bool:
        """Says whether its folder is not as it was when it was loaded."""
        return fingerprint(self.path)[1] != self.content

    def take(self) -> Servable | None:
        """Returns the servable, held until the end of a `with` block; None when it does not serve (any more)."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return None
            self._users += 1
            return self.servable

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users and self.state == State.UNLOADING:
                self._unused.set()

    def retire(self) -> None:
        """Turns from AVAILABLE to UNLOADING: nobody new may take it."""
        with self._lock:
            self.state = State.UNLOADING
            if not self._users:
                self._unused.set()

    def close(self) -> None:
        """Waits for the last user, then frees the servable."""
        self._unused.wait()
        servable, self.servable = self.servable, None
        if servable is not None:
            servable.close()


class Model:
    """Holds a model's settings, versions and labels."""

    def __init__(self, settings: ModelSettings, versions: dict[int, Version]) -> None:
        self.settings = settings
        self.versions = versions
        self.labels: dict[str, int] = {}
        self.seen = False  # whether a poll has seen a version that the policy chooses
        self.removed = False
        self._warned = ""

    def aspired(self) -> list[Version]:
        """Returns the versions that should serve."""
        return [version for version in self.versions.values() if version.aspired]

    def available(self) -> list[Version]:
        """Returns the versions that serve, lowest first."""
        return [version for _, version in sorted(self.versions.items()) if version.state == State.AVAILABLE]

    def decided(self) -> bool:
        """Says whether each version that should serve does, or cannot."""
        done = (State.AVAILABLE, State.END)
        return self.removed or (self.seen and all(version.state in done for version in self.aspired()))

    def scan(self) -> dict[int, str] | None:
        """Returns `scan` of its base path; logs that there is no version, when that is news."""
        folders = scan(self.settings.base_path)
        what = "" if folders else "Could not find base path" if folders is None else "No versions found under base path"
        if what and what != self._warned:
            _log.warning("%s %s for servable %s", what, self.settings.base_path, self.settings.name)
        self._warned = what
        return folders
