"""Scores whole files: streamed, in order, with every column; bad rows are rejected."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from tfb2d.atomic import atomic_path
from tfb2d.data.checked_rows import CheckedRow, read_checked_rows
from tfb2d.data.files import expand, format_of
from tfb2d.data.readers import AS_USUAL, Reading, columns_of
from tfb2d.data.rejects import Rejects
from tfb2d.data.task import Task
from tfb2d.data.writers import RowWriter
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import BATCH, Float32, Scorer

Batch = list[CheckedRow]  # `others` hold the values of all columns

CHARS = 2**22  # of a batch, which ends there even before BATCH rows
CHECK_ROWS = 100 * BATCH  # rows between two checks of the share of rejected rows


def score_columns(task: Task, prefix: str = "") -> list[str]:
    """Returns the names of the columns that scoring adds.

    They are `score` and `logit`. Of multi-class tasks they are `predicted`, the likeliest class's name, then
    `score_<class>` and `logit_<class>` of every class.
    """
    if task.kind != "multiclass":
        return [f"{prefix}score", f"{prefix}logit"]
    return [f"{prefix}predicted", *(f"{prefix}{what}_{name}" for what in ("score", "logit") for name in task.classes)]


@dataclass(frozen=True)
class ScoredFiles:
    """Counts what `score_files` did."""

    rows: int  # rows that were scored
    rejected: int  # rows that could not be scored
    reasons: Mapping[str, int]  # rejected rows by reason
    dialects: Mapping[str, str]  # how each TSV or CSV file was read, in words, by its path
    flattened: int  # values whose tabs or line breaks became spaces, because TSV cannot hold them
    seconds: float  # of the whole call

    @property
    def rows_per_second(self) -> float:
        """Returns how many rows were read a second, rejected ones included."""
        return (self.rows + self.rejected) / self.seconds


def score_files(
    scorer: Scorer,
    files: Sequence[str | Path],
    output: Path,
    *,
    texts: Sequence[str] | None = None,
    prefix: str = "",
    reading: Reading = AS_USUAL,
    progress: bool = True,
) -> ScoredFiles:
    """Writes `output`: the rows of the files, in order, with all their columns and the model's scores.

    The output has the columns of all files, in the order of first appearance. JSON lines add those of their first thousand
    objects. The model scores one batch while the next is read, so memory holds a few batches. The output appears whole at
    the end. Rows that cannot be scored go to `<output>.rejected.jsonl`.

    Args:
      files: paths, globs, folders.
      output: the file to write; its ending chooses the format.
      texts: columns with the text fields, in the order of `task.fields`; by default of the same names.
      prefix: put before the names of the added columns.

    Raises:
      DataError: a file that cannot be used, an added column that exists already, or too many rejected rows.
      OSError: the output cannot be written.
    """
    started = time.perf_counter()
    paths, texts = expand(files), tuple(texts or scorer.task.fields)
    columns, types = _columns(paths, reading.quoting)
    added = score_columns(scorer.task, prefix)
    exact = format_of(output) == ".parquet"
    if any(path.resolve() == output.resolve() for path in paths):
        raise DataError(f"{output} is one of the inputs; write to another file")
    if both := [name for name in added if name in columns]:
        raise DataError(f"the input has a column {both[0]!r} already; --prefix= renames those that are added")
    rejected_file = output.with_name(output.name + ".rejected.jsonl")
    rejects = Rejects(rejected_file, reading.max_rejected)
    try:
        with (
            rejects,
            atomic_path(output) as temporary,
            RowWriter(temporary, output, [*columns, *added], types) as out,
            file_bar(paths, progress) as bar,
        ):
            batches = _batches(paths, columns, texts, rejects, reading, bar)
            for batch, scores, logits in _scored(scorer, batches):
                tails = _added(scorer.task, scores, logits, exact)
                out.write([row.others + tail for row, tail in zip(batch, tails, strict=True)])
                speed = out.rows / (time.perf_counter() - started)
                bar.set_postfix_str(f"{out.rows:,} rows, {speed:,.0f} rows/s", False)
    finally:
        if not rejects.count:
            rejected_file.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    reasons, dialects = dict(rejects.reasons), dict(rejects.dialects)
    return ScoredFiles(out.rows, rejects.count, reasons, dialects, out.flattened, seconds)


def file_bar(paths: Sequence[Path], shown: bool) -> tqdm:
    """Makes a progress bar over the bytes of files, on stderr."""
    shape = "{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}, ETA {remaining}{postfix}"
    size = sum(path.stat().st_size for path in paths)
    return tqdm(total=size, unit="B", unit_scale=True, bar_format=shape, disable=not shown)


def _scored(scorer: Scorer, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Float32, Float32]]:
    """Yields batches with their scores and logits; a thread scores a batch while the next one is read."""
    waiting: list[tuple[Batch, Future[tuple[Float32, Float32]]]] = []
    with ThreadPoolExecutor(1) as thread:
        for batch in batches:
            texts = list(zip(*(row.texts for row in batch), strict=True))
            waiting.append((batch, thread.submit(scorer.score, texts)))
            if len(waiting) > 1:
                done, scored = waiting.pop(0)
                yield done, *scored.result()
        for done, scored in waiting:
            yield done, *scored.result()


def _columns(paths: Sequence[Path], quoting: str) -> tuple[list[str], dict[str, pa.DataType]]:
    """Returns the columns of all files, in the order of first appearance, and the types of those from Parquet."""
    types: dict[str, pa.DataType] = {}
    for path in paths:
        if format_of(path) == ".parquet":
            try:
                schema = pq.read_schema(path)
            except (OSError, pa.ArrowException):
                continue  # reported when its columns are read, below
            types = {name: schema.field(name).type for name in schema.names if schema.names.count(name) == 1} | types
    return list(dict.fromkeys(column for path in paths for column in columns_of(path, quoting))), types


def _batches(
    paths: Sequence[Path], columns: Sequence[str], texts: Sequence[str], rejects: Rejects, reading: Reading, bar: tqdm
) -> Iterator[Batch]:
    """Yields batches of the rows that can be scored; raises DataError where too many cannot."""
    batch: Batch = []
    kept, chars, done, size = 0, 0, 0, sum(path.stat().st_size for path in paths)
    next_check = CHECK_ROWS

    def consumed(count: int) -> None:
        nonlocal done, next_check
        done += count
        bar.update(count)
        if kept + rejects.count >= next_check:
            next_check += CHECK_ROWS
            rejects.check(kept + rejects.count, min(1.0, max(done / size, 1e-9)))

    for path in paths:
        rows = read_checked_rows(path, texts, rejects, others=columns, reading=reading, progress=consumed)
        for row in rows:
            kept += 1
            chars += sum(map(len, row.texts))
            batch.append(row)
            if len(batch) == BATCH or chars >= CHARS:
                yield batch
                batch, chars = [], 0
    if not kept + rejects.count:
        raise DataError(f"{', '.join(map(str, paths))}: no rows, only headers")
    rejects.check(kept + rejects.count)
    if batch:
        yield batch


def _added(task: Task, scores: Float32, logits: Float32, exact: bool) -> list[tuple[Any, ...]]:
    """Returns the added values, row by row: float32 values if `exact`, else the shortest decimals that equal them."""
    columns: list[Sequence[Any]] = []
    if task.kind == "multiclass":
        columns.append([task.classes[best] for best in scores.argmax(axis=1).tolist()])
    for array in (scores, logits):
        columns += [list(column) if exact else _shortest(column) for column in np.atleast_2d(array.T)]
    return list(zip(*columns, strict=True))


def _shortest(values: Float32) -> list[float]:
    return [float(text) for text in values.astype("U32")]
