"""Files of record batches, each sorted by a 64-bit key: what one pass leaves, and the next reads by ranges of the key.

This is how rows move between partitions, on one machine or many. A file is written whole or not at all. Its reader finds a
range by bisection, so the writer need not know how many partitions there will be. A file costs its reader the memory of
the range, and not of the file.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.atomic import atomic_path
from tfb2d.errors import DataError

KEYS = 2**64  # a key is an unsigned 64-bit number; it is the first column


def write_sorted(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Writes batches, each sorted by the first column, uint64; returns the bytes of the file."""
    with atomic_path(path) as fresh, pa.ipc.new_file(str(fresh), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path.stat().st_size


def read_range(paths: Sequence[Path], first: int, last: int) -> Iterator[pa.RecordBatch]:
    """Streams the rows whose key lies between `first` and `last`, both included, file by file and batch by batch.

    Raises DataError where a file is damaged, or not there.
    """
    bounds = np.array([first, last], np.uint64)
    for path in paths:
        try:
            with pa.memory_map(str(path)) as source:
                file = pa.ipc.open_file(source)
                for index in range(file.num_record_batches):
                    batch = file.get_batch(index)
                    keys = batch.column(0).to_numpy()
                    begin, end = np.searchsorted(keys, bounds[0]), np.searchsorted(keys, bounds[1], "right")
                    if begin < end:
                        yield batch.take(pa.array(np.arange(begin, end)))  # a copy: it does not keep the file mapped
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a whole Arrow file: {error}") from error


def part_of_keys(index: int, count: int) -> tuple[int, int]:
    """Returns the first and the last key of one of `count` equal parts of all keys."""
    return index * KEYS // count, (index + 1) * KEYS // count - 1
