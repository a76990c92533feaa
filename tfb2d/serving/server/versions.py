"""Finds version folders, chooses among them by policy, and waits until they have stopped changing, for `models`."""

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"\s*\+?([0-9]+)\s*\Z", re.ASCII)  # what absl::SimpleAtoi reads, less the negative ones


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
    if kind == "all":
        return numbers
    if kind == "specific":
        listed = set(policy.specific.versions)
        return [number for number in numbers if number in listed]
    return numbers[: max(1, policy.latest.num_versions)]


def fingerprint(folder: str) -> tuple[float, frozenset]:
    """Returns what shows that a folder's content changed.

    Returns:
      The latest change time of anything in the folder (seconds since 1970; its own where it is empty), and a
      (path, inode, size, change time in ns) per entry. Change times, unlike modification times, cannot be set: a copy that
      keeps dates is seen while it goes on, and a finished folder that is renamed into place counts as old.
    """
    entries = []
    latest = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            try:
                stat = os.stat(path)
            except OSError:
                continue
            latest = max(latest, stat.st_ctime_ns)
            size = stat.st_size if name in files else 0
            entries.append((path, stat.st_ino, size, stat.st_ctime_ns))
    if not entries:
        try:
            latest = os.stat(folder).st_ctime_ns
        except OSError:
            latest = 0
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
