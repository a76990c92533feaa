"""Finding input files, and writing files so that a reader meets either the old content or the new, never half."""

import difflib
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfb2d.data.errors import DataError
from tfb2d.data.formats import ENDINGS


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
        from tfb2d.data.resources import resolve  # which needs the atomic writes of this module

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


def fingerprint_files(paths: Sequence[Path]) -> str:
    """A hash of the content of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        one = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                one.update(chunk)
        digest.update(one.digest())
    return digest.hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; when the block ends without an error, it is synced and takes its place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Writes a whole file; text as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, value: Any) -> None:
    """Writes indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
      DataError: it is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
