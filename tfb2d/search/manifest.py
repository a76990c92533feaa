"""`index.json`: what an index consists of. A change writes new files, then this one, then deletes the old."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfb2d.atomic import read_json, write_json
from tfb2d.outcomes import Outcome
from tfb2d.search.answer import SearchError
from tfb2d.search.models import Identity

NAME = "index.json"
FORMAT = 1


@dataclass(frozen=True)
class Part:
    """A file of the catalogue: its name, rows and bytes."""

    file: str
    rows: int
    size: int


@dataclass(frozen=True)
class Manifest(Outcome):
    """Says what an index consists of; files are relative to its folder."""

    catalogue: str  # folder of the Parquet parts
    parts: tuple[Part, ...]  # in order. A title's row number counts over all of them, and never changes
    # dim, dtype: of the vectors: "float32", "float16", or "int8" (scaled by 127)
    dim: int
    dtype: str
    model: Identity  # the twin
    backend: str  # how vectors are searched: "exact", "hnsw", "ivfpq", "sq" or "milvus"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the backend
    deleted: str = ""  # file with the row numbers of deleted and replaced titles; "" if there are none
    n_deleted: int = 0  # how many they are
    vectors: str = ""
    lexical: str = ""  # folder of the BM25 index
    # Sizes in bytes of the files that can be made anew from the catalogue, by name; they are checked on opening
    files: Mapping[str, int] = field(default_factory=dict)
    trained_rows: int = 0  # rows that the backend was built from; later ones were added
    version: int = 1  # counts the changes; names of new files carry it
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Returns how many row numbers are taken."""
        return sum(part.rows for part in self.parts)

    @property
    def live(self) -> int:
        """Returns how many titles can be found."""
        return self.rows - self.n_deleted

    def write(self, index: Path) -> None:
        """Writes `index.json`, atomically: from here on the index is this one."""
        write_json(index / NAME, self.to_json())

    @classmethod
    def read(cls, index: Path) -> "Manifest":
        """Reads `index.json`; raises SearchError where there is none, or one of another format."""
        path = index / NAME
        if not path.exists():
            hint = "its build has not finished; run it again" if any(index.glob("catalogue-*")) else "build one"
            raise SearchError(f"{index} holds no index (no {NAME}): {hint} (tfb2d search build)")
        value = read_json(path)
        if value.get("format") != FORMAT:
            raise SearchError(
                f"{path} has the format {value.get('format')}; this version reads {FORMAT}: build it anew"
            )
        try:
            return cls.from_json(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise SearchError(f"{path} is not an index's: {error!r}") from error


def clean(index: Path, manifest: Manifest) -> None:
    """Deletes what an earlier version of the index, or a change that was cut short, left behind."""
    kept = {manifest.catalogue, manifest.deleted, manifest.vectors, manifest.lexical}
    for pattern in ("catalogue-*", "deleted-*", "vectors-*", "bm25-*", ".*.tmp"):
        for path in index.glob(pattern):
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder = index / manifest.catalogue
    parts = {Path(part.file).stem for part in manifest.parts}
    for path in folder.glob("part-*"):
        if path.stem not in parts:
            path.unlink()
