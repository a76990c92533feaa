"""Reads the texts of files, and columns that tell their rows apart, in batches, for labelling and preparing files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.checks import text_fault
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.task import name

BATCH_ROWS = 4096


def text_batches(
    paths: Sequence[Path],
    columns: Sequence[str],
    keep: Sequence[str],
    reading: Reading,
    rejects: Rejects,
) -> Iterator[pa.RecordBatch]:
    """Streams the rows that can be used.

    Args:
      paths: the files.
      columns: the text columns, which they must have.
      keep: more columns, passed on as text; "" throughout where a file has none.
      reading: its `max_chars` and `quoting`.
      rejects: gets the others.

    Yields:
      At most BATCH_ROWS rows: `columns`, then `keep`, all strings.

    Raises:
      DataError: a file that cannot be used.
    """
    schema = pa.schema([(column, pa.string()) for column in (*columns, *keep)])
    rows: list[tuple[str, ...]] = []
    for path in paths:
        for row in read_checked_rows(path, columns, rejects, others=keep, reading=reading):
            kept = tuple(map(name, row.others))
            checked = zip(keep, kept, strict=True)
            faults = [(column, text_fault(value, reading.max_chars), value) for column, value in checked]
            if fault := next((fault for fault in faults if fault[1]), None):
                rejects.keep(2 - row.lines)  # takes back what the reader noted of it as a good row
                rejects.add(path, row.number, *fault, lines=row.lines)
                continue
            rows.append((*row.texts, *kept))
            if len(rows) == BATCH_ROWS:
                yield pa.record_batch(list(zip(*rows, strict=True)), schema)
                rows = []
    if rows:
        yield pa.record_batch(list(zip(*rows, strict=True)), schema)
