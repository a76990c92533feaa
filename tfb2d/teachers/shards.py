"""Tables of logits on disk, in shards: the unit that is written whole, kept when it is there, or done again."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path
from tfb2d.data.tables import logit_names

MADE_BY = b"tfb2d.teacher"  # key of a shard's metadata: a digest of all that a logit depends on besides the text


def finished_shards(out: Path) -> int:
    """Counts the whole shards of a folder, from the first on; makes the folder where there is none."""
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    while _part(out, done).exists():
        done += 1
    return done


def clear(out: Path) -> None:
    """Makes a folder, or removes the shards that it has."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("part-*.parquet"):
        path.unlink()


def write_shard(out: Path, number: int, rows: pa.Table, logits: np.ndarray, made_by: str = "") -> None:
    """Writes one shard: the columns of `rows`, then `logits`, float32 [n, k]; `made_by` goes into its metadata."""
    for i, name in enumerate(logit_names(logits.shape[1])):
        rows = rows.append_column(name, pa.array(logits[:, i], pa.float32()))
    if made_by:
        rows = rows.replace_schema_metadata({MADE_BY: made_by.encode()})
    with atomic_path(_part(out, number)) as path:
        pq.write_table(rows, path, compression="zstd")


def made_by(part: Path) -> str:
    """Returns what a shard's metadata says of the teacher that made it; "" where it says nothing."""
    return ((pq.read_schema(part).metadata or {}).get(MADE_BY) or b"").decode()


def cut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows, but for the last, whatever the batches are."""
    waiting: list[pa.RecordBatch] = []
    room = rows
    for batch in batches:
        while batch.num_rows >= room:
            yield pa.Table.from_batches([*waiting, batch.slice(0, room)])
            batch = batch.slice(room)
            waiting, room = [], rows
        if batch.num_rows:
            waiting.append(batch)
            room -= batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)


def _part(out: Path, number: int) -> Path:
    return out / f"part-{number:05d}.parquet"
