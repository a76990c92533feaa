"""Brings files of object stores here: `s3://bucket/logs/*.parquet`, and whatever else pyarrow's filesystems read.

A file is read more than once: for its columns, for the fingerprint of the work, which covers its content, and for its rows.
So each file is copied to disk once, in pieces.
"""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pyarrow import fs

from tfb2d.atomic import atomic_path
from tfb2d.data.files import has_known_ending
from tfb2d.errors import DataError

SCHEMES = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")  # of pyarrow.fs.FileSystem.from_uri
CHUNK = 2**20  # bytes copied at once


def is_remote(pattern: str) -> bool:
    """Says whether a pattern names files of an object store."""
    return "://" in pattern and pattern.partition("://")[0].lower() in SCHEMES


def bring_here(patterns: Sequence[str], folder: Path) -> list[str]:
    """Copies the files that remote patterns name into a folder; those that are here already, unchanged, are kept.

    Patterns are URIs of a file, of a folder, or with `*` in the last part; others are passed through. Pyarrow's options may
    follow: `?region=eu-west-1&endpoint_override=...`; credentials come from where the store's own tools have them.

    Returns the patterns; in place of remote ones the paths of the copies, sorted within a pattern. Raises DataError where a
    store does not answer, or no file matches.
    """
    here: list[str] = []
    for pattern in patterns:
        if is_remote(pattern):
            here += _copied(pattern, folder)
        else:
            here.append(pattern)
    return here


def _copied(pattern: str, folder: Path) -> list[str]:
    try:
        store, path = fs.FileSystem.from_uri(pattern)
        infos = sorted(_matches(store, path), key=lambda info: info.path)
        for info in infos:
            _copy(store, info, place_of(info.path, folder))
    except (OSError, ValueError) as error:  # pyarrow's own errors are these, too
        raise DataError(f"{pattern} cannot be read: {error}") from error
    if not infos:
        raise DataError(f"{pattern}: nothing found")
    return [str(place_of(info.path, folder)) for info in infos]


def place_of(path: str, folder: Path) -> Path:
    """Returns where a store's file is copied to: below the folder, whatever its path is.

    Raises DataError where the path has a part "..", which could lead out of the folder.
    """
    if ".." in path.split("/"):
        raise DataError(f"{path}: a path with '..' in it is not copied; give the file another name")
    return folder / path.lstrip("/")  # HDFS has absolute paths


def _matches(store: fs.FileSystem, path: str) -> list[fs.FileInfo]:
    parent, _, last = path.rstrip("/").rpartition("/")
    if "*" in last:
        return [info for info in _listed(store, parent) if fnmatchcase(info.base_name, last)]
    info = store.get_file_info(path.rstrip("/"))
    if info.type == fs.FileType.Directory:
        named = (info for info in _listed(store, info.path) if not info.base_name.startswith((".", "_")))
        return [info for info in named if has_known_ending(info.base_name)]
    return [info] if info.is_file else []


def _listed(store: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    return [info for info in store.get_file_info(fs.FileSelector(folder, allow_not_found=True)) if info.is_file]


def _copy(store: fs.FileSystem, info: fs.FileInfo, path: Path) -> None:
    """Copies a file; its copy has the original's time of change, by which it is known again."""
    changed = info.mtime_ns or 0
    if path.exists() and (path.stat().st_size, path.stat().st_mtime_ns) == (info.size, changed):
        return
    with atomic_path(path) as fresh:
        with store.open_input_stream(info.path) as source, fresh.open("wb") as copy:
            while piece := source.read(CHUNK):
                copy.write(piece)
        os.utime(fresh, ns=(changed, changed))
