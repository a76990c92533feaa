"""Tables of logits on disk, in shards: the unit that is written whole, kept when it is there, or done again."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.data.files import atomic_path, read_json, write_json
from tfb2d.data.tables import logit_names

FILE = "_label.json"  # what the shards beside it were made from; Parquet readers pass over files called _*


def finished_shards(out: Path, made_from: Mapping[str, Any]) -> int:
    """Counts the shards of `out` that need not be done again; removes those that were made from something else."""
    if not (out / FILE).exists() or read_json(out / FILE) != made_from:
        clear(out)
        write_json(out / FILE, made_from)
    done = 0
    while _part(out, done).exists():
        done += 1
    return done


def clear(out: Path) -> None:
    """Makes a folder, or removes the shards that it has."""
    out.mkdir(parents=True, exist_ok=True)
    for path in [out / FILE, *out.glob("part-*.parquet")]:
        path.unlink(missing_ok=True)


def write_shard(out: Path, number: int, rows: pa.Table, logits: np.ndarray) -> None:
    """Writes one shard: the columns of `rows`, then `logits`, float32 [n, k]."""
    for i, name in enumerate(logit_names(logits.shape[1])):
        rows = rows.append_column(name, pa.array(logits[:, i], pa.float32()))
    with atomic_path(_part(out, number)) as path:
        pq.write_table(rows, path, compression="zstd")


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
