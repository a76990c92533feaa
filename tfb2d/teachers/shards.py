"""Tables of logits on disk. A shard is written whole or not at all, so labelling continues with those that are missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path, read_json, write_json
from tfb2d.data.tables import logit_names
from tfb2d.errors import RunError

MADE_BY = b"tfb2d.teacher"  # key of a shard's metadata: a digest of all that a logit depends on besides the text
WITHOUT = b"tfb2d.without_logit"  # ... how many of its rows have no logit; a shard without the key has none
MANIFEST = "_shards.json"  # says what a folder's shards are of; readers of Parquet folders pass over the underscore


def shard_path(out: Path, index: int) -> Path:
    """Returns the path of a shard."""
    return out / f"part-{index:05d}.parquet"


def missing_shards(out: Path, count: int) -> list[int]:
    """Returns the indices, below `count`, of the shards that a folder lacks. Actors may leave holes."""
    present = {path.name for path in out.glob("part-*.parquet")}
    return [index for index in range(count) if shard_path(out, index).name not in present]


def begin(out: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest of a folder of shards before the first shard: what they depend on, `made_by` among it.

    Raises RunError where the folder holds shards of something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / MANIFEST
    first = next(iter(sorted(out.glob("part-*.parquet"))), None)
    before = read_json(path) if path.exists() else {"made_by": made_by(first)} if first else {}
    other = [name for name, value in before.items() if name in manifest and manifest[name] != value]
    if other and first:
        raise RunError(f"{out} holds shards of another labelling ({', '.join(other)} differ); name another folder")
    if before != manifest:
        write_json(path, manifest)


def write_shard(out: Path, index: int, rows: pa.Table, logits: np.ndarray, made_by: str = "") -> None:
    """Writes a shard: the columns of n rows, then their logits, float32 [n, k], NaN where a row has none.

    `made_by` is a digest of what made the logits, for the shard's metadata; "" writes none.
    """
    for i, name in enumerate(logit_names(logits.shape[1])):
        rows = rows.append_column(name, pa.array(logits[:, i], pa.float32()))
    if made_by:
        without = int(np.isnan(logits).any(1).sum())
        counted = {WITHOUT: str(without).encode()} if without else {}
        rows = rows.replace_schema_metadata({MADE_BY: made_by.encode()} | counted)
    with atomic_path(shard_path(out, index)) as path:
        # In one chunk: the pages, and so the bytes, would follow the chunks in which the rows were read.
        pq.write_table(rows.combine_chunks(), path, compression="zstd")


def made_by(part: Path) -> str:
    """Reads the digest of what made a shard's logits; "" where its metadata have none."""
    return ((pq.read_schema(part).metadata or {}).get(MADE_BY) or b"").decode()


def without_logit(part: Path) -> int:
    """Reads how many rows of a shard have no logit."""
    return int((pq.read_schema(part).metadata or {}).get(WITHOUT) or 0)
