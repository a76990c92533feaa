"""Tables of logits on disk. A shard is written whole or not at all, so labelling goes on after the last one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path
from tfb2d.data.tables import logit_names

MADE_BY = b"tfb2d.teacher"  # key of a shard's metadata: a digest of all that a logit depends on besides the text


def finished_shards(out: Path) -> int:
    """Counts the shards of a folder from the first to the first that is missing; makes the folder if need be."""
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    while _part(out, done).exists():
        done += 1
    return done


def clear(out: Path) -> None:
    """Makes a folder without shards."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("part-*.parquet"):
        path.unlink()


def write_shard(out: Path, index: int, rows: pa.Table, logits: np.ndarray, made_by: str = "") -> None:
    """Writes a shard.

    Args:
      out: the folder.
      index: which shard it is.
      rows: n rows with their columns, which come first.
      logits: float32 [n, k].
      made_by: digest of what made the logits, for the shard's metadata; "" writes none.
    """
    for i, name in enumerate(logit_names(logits.shape[1])):
        rows = rows.append_column(name, pa.array(logits[:, i], pa.float32()))
    if made_by:
        rows = rows.replace_schema_metadata({MADE_BY: made_by.encode()})
    with atomic_path(_part(out, index)) as path:
        pq.write_table(rows, path, compression="zstd")


def made_by(part: Path) -> str:
    """Reads the digest of what made a shard's logits; "" where its metadata have none."""
    return ((pq.read_schema(part).metadata or {}).get(MADE_BY) or b"").decode()


def _part(out: Path, index: int) -> Path:
    return out / f"part-{index:05d}.parquet"
