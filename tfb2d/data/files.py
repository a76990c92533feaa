"""Finds input files by paths, globs, folders and pinned resources."""

import difflib
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfb2d.atomic import atomic_path as atomic_path
from tfb2d.atomic import fingerprint_files as fingerprint_files
from tfb2d.atomic import read_json as read_json
from tfb2d.atomic import sync as sync
from tfb2d.atomic import write_atomic as write_atomic
from tfb2d.atomic import write_json as write_json
from tfb2d.data.errors import DataError
from tfb2d.data.resources import resolve

TEXT_ENDINGS = (".tsv", ".csv", ".jsonl")
ENDINGS = (*TEXT_ENDINGS, *(end + zipped for end in TEXT_ENDINGS for zipped in (".gz", ".zst")), ".parquet")


def expand(patterns: Sequence[str | Path]) -> list[Path]:
    """Files that paths, globs (`**` too), folders and `pypi:` resources stand for: each once, sorted within a pattern.

    A folder stands for the files in it with an ending that the readers know; hidden files and those that start with
    `_` (a cluster's markers) are left out.

    Raises:
      DataError: a pattern that finds nothing; the message names it and the nearest file there is.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        files = _expand_one(str(pattern))
        if not files:
            raise DataError(f"{pattern}: nothing found{_near(Path(pattern))}")
        found.update(dict.fromkeys(files))
    return list(found)


def _expand_one(pattern: str) -> list[Path]:
    if pattern.startswith("pypi:"):
        pattern = resolve(pattern)
    path = Path(pattern).expanduser()
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.name.endswith(ENDINGS) and not p.name.startswith((".", "_")))
    if path.exists():
        return [path]
    return sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())


def _near(path: Path) -> str:
    if path.is_dir():
        return f" in the folder that ends in one of {', '.join(ENDINGS)}"
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = sorted(p.name for p in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def file_identity(patterns: Sequence[str]) -> list[list[Any]]:
    """Returns path, size and time of change of the data files that patterns name; pinned resources stand for themselves."""
    pinned = [[name] for name in patterns if name.startswith("pypi:")]
    return pinned + _stats(expand([name for name in patterns if not name.startswith("pypi:")]))


def folder_identity(folder: str) -> list[list[Any]]:
    """Returns the same for all files below a folder; nothing where `folder` is the name of something else."""
    return _stats(sorted(path for path in Path(folder).expanduser().rglob("*") if path.is_file()))


def _stats(paths: Sequence[Path]) -> list[list[Any]]:
    stats = ((path, path.stat()) for path in paths)
    return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
