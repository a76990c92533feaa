"""Finds input files by paths, globs, folders and `pypi:` resources; the name's ending says the format."""

import difflib
import functools
import glob
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfb2d.data.resources import resolve
from tfb2d.errors import DataError

_log = logging.getLogger(__name__)
TEXT_ENDINGS = (".tsv", ".csv", ".jsonl")
ENDINGS = (*TEXT_ENDINGS, *(end + zipped for end in TEXT_ENDINGS for zipped in (".gz", ".zst")), ".parquet")
_OURS = ("_stage.json", "_manifest.json")  # beside the parts in folders that tfb2d wrote


def expand(patterns: Sequence[str | Path]) -> list[Path]:
    """Finds the files that paths, globs (`**` too), folders and `pypi:` resources stand for, each once, sorted for each.

    A folder stands for the files in it with an ending that the readers know, in upper or lower case. Hidden files and
    those that start with `_` (a cluster's markers) are left out. The log names, once, what else a folder holds.

    Raises:
      DataError: a pattern that no file matches; the message names it and the nearest file there is.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        matches = _matches(str(pattern))
        if not matches:
            raise DataError(f"{pattern}: nothing found{_near(Path(pattern))}")
        files.update(dict.fromkeys(matches))
    return list(files)


def _matches(pattern: str) -> list[Path]:
    if pattern.startswith("pypi:"):
        pattern = resolve(pattern)
    path = Path(pattern).expanduser()
    if path.is_dir():
        return _files_in(path)
    if path.exists():
        return [path]
    return sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())


def _files_in(folder: Path) -> list[Path]:
    read, skipped = [], defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.name in _OURS:
            continue
        if reason := _why_not(path):
            skipped[reason].append(path.name)
        else:
            read.append(path)
    for reason, names in skipped.items():
        _warn(folder, reason, tuple(names))
    return read


def _why_not(path: Path) -> str:
    """Says why a folder's entry is not read; "" if it is."""
    if path.name.startswith((".", "_")):
        return "hidden files and those that start with _ are not"
    if path.is_dir():
        return "folders within folders are not: name them, or use a glob such as **/*.tsv"
    return "" if has_known_ending(path.name) else f"the name must end in one of {', '.join(ENDINGS)}"


@functools.cache  # a folder is looked at many times; its files are named once
def _warn(folder: Path, reason: str, names: tuple[str, ...]) -> None:
    _log.warning("%s: not read: %s (%s)", folder, ", ".join(names), reason)


def _near(path: Path) -> str:
    if path.is_dir():
        return f" in the folder that ends in one of {', '.join(ENDINGS)}"
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = sorted(p.name for p in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def file_identity(patterns: Sequence[str]) -> list[list[Any]]:
    """Returns path, bytes and time of change (ns) of the files that patterns name; of a pinned resource its name alone."""
    pinned = [[name] for name in patterns if name.startswith("pypi:")]
    return pinned + _stats(expand([name for name in patterns if not name.startswith("pypi:")]))


def folder_identity(folder: str) -> list[list[Any]]:
    """Returns the same for all files below a folder; nothing if `folder` is no folder."""
    return _stats(sorted(path for path in Path(folder).expanduser().rglob("*") if path.is_file()))


def _stats(paths: Sequence[Path]) -> list[list[Any]]:
    stats = ((path, path.stat()) for path in paths)
    return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def has_known_ending(name: str) -> bool:
    """Says whether a file of this name can be read."""
    return name.lower().endswith(ENDINGS)


def format_of(path: Path) -> str:
    """Returns the ending without a compression: ".csv", ".parquet"; raises DataError where it is not known."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return "." + ending.split(".")[1]
    raise DataError(f"{path}: unknown kind of file; its name must end in one of {', '.join(ENDINGS)}")


def codec_of(path: Path) -> str | None:
    """Returns Arrow's name of the compression that the ending says, or None."""
    return {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
