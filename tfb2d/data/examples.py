"""Reads examples: rows of files, checked against the task. What does not pass is rejected and counted."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tfb2d.config import DataConfig
from tfb2d.data.files import expand
from tfb2d.data.keys import HashSet, hash64
from tfb2d.data.readers import read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem, Progress, Row, check_texts, text_fault
from tfb2d.data.task import Task, name
from tfb2d.errors import DataError

BATCH_ROWS = 4096
BATCH_CHARS = 2**20  # long texts make smaller batches


class Example(NamedTuple):
    """A row's text fields, label (NaN without one), and group and id ("" without one)."""

    texts: tuple[str, ...]
    label: float = math.nan
    group: str = ""
    id: str = ""


def schema(data: DataConfig) -> pa.Schema:
    """Returns the columns of tables of examples: text fields, `label` (float32), `group` (string, if there are groups)."""
    columns = [(field, pa.string()) for field in data.fields] + [("label", pa.float32())]
    return pa.schema(columns + [("group", pa.string())] * bool(data.group_column))


def batch_of(examples: Sequence[Example], data: DataConfig) -> pa.RecordBatch:
    """Returns examples as a batch of `schema(data)`."""
    texts, labels, groups, _ = zip(*examples, strict=True) if examples else ((), (), (), ())
    columns = [pa.array([row[field] for row in texts], pa.string()) for field in range(len(data.fields))]
    columns.append(pa.array(np.array(labels, np.float32)))
    if data.group_column:
        columns.append(pa.array(groups, pa.string()))
    return pa.record_batch(columns, schema=schema(data))


def read_examples(
    files: Sequence[str | Path],
    data: DataConfig,
    *,
    labelled: bool,
    rejects: Rejects,
    columns: Sequence[str] | None = None,
    limit: int = 0,
    progress: Progress | None = None,
) -> Iterator[pa.RecordBatch]:
    """Streams the rows of a file set that pass the checks, in order; the others go to `rejects`.

    Args:
      files: paths, globs, folders, `pypi:` resources.
      labelled: whether the files must have `data.label` (and `data.group_column`, `data.id` where set). Otherwise labels
        are not read, and groups and ids are read where a file has them.
      columns: names of the text fields in these files, in the order of `data.fields`; by default the same names.
      limit: the number of rows to stop after; 0 reads all.
      progress: called with the bytes read since the last call.

    Yields:
      Record batches of `schema(data)`, at most BATCH_ROWS rows. Texts are as in the files. Labels are within
      [0, 1] (binary, graded) or class indices; NaN if not `labelled`. The group of an unlabelled row may be "".

    Raises:
      DataError: a file that cannot be used, no rows at all, or more rows rejected than `data.max_rejected` allows.
    """
    paths = expand(files)
    texts = tuple(columns or data.fields)
    named = dict(zip(data.fields, texts, strict=True))
    group = named.get(data.group_column, data.group_column)  # it may be one of the text fields
    keys = tuple(column for column in (group, data.id) if column)
    required, optional = ((*texts, *keys, data.label), ()) if labelled else (texts, keys)
    check = _Check(data, texts, labelled)
    size = max(sum(path.stat().st_size for path in paths), 1)
    done = number = lines = chars = 0
    ids = HashSet()
    waiting: list[tuple[Path, Row, Example]] = []

    def consumed(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(count)

    rows = (
        (path, row)
        for path in paths
        for row in read_rows(path, required, optional, consumed, data.quoting, rejects.dialects, data.max_chars)
    )
    rejects.begin()
    for number, (path, row) in enumerate(islice(rows, limit or None), 1):
        lines += row.lines
        example = check(row)
        if isinstance(example, Problem):
            rejects.add(path, row.number, *example, lines=row.lines)
        else:
            waiting.append((path, row, example))
            chars += sum(map(len, example.texts))
        if len(waiting) >= BATCH_ROWS or chars >= BATCH_CHARS:
            yield batch_of(_unique(waiting, ids, data, rejects), data)
            waiting, chars = [], 0
        if number % BATCH_ROWS == 0:
            rejects.check(lines, max(done / size, number / limit if limit else 0, 1 / size))
    if not number:
        raise DataError(f"{', '.join(map(str, files))}: no rows below the header")
    if last := _unique(waiting, ids, data, rejects):
        yield batch_of(last, data)
    rejects.check(lines)


class _Check:
    """Turns a row into an example, or says what is wrong with it."""

    def __init__(self, data: DataConfig, texts: Sequence[str], labelled: bool) -> None:
        self.data = data
        self.texts = texts
        self.keys = [column for column in (data.group_column, data.id) if column]
        self.labelled = labelled
        self.task = Task.from_config(data)
        self.unknown_label = f"unknown label (known: {self.task.known_labels()})"

    def __call__(self, row: Row) -> Example | Problem:
        if row.problem:
            return row.problem
        texts = tuple("" if value is None else value for value in row.values[: len(self.texts)])
        if problem := check_texts(self.texts, texts, self.data.max_chars):
            return problem
        keys = [name(value) for value in row.values[len(texts) : len(texts) + len(self.keys)]]
        for column, value in zip(self.keys, keys, strict=True):
            reason = text_fault(value, self.data.max_chars) or ("" if value or not self.labelled else "missing value")
            if reason:
                return Problem(column, reason, value[:200])
        group, key = keys[0] if self.data.group_column else "", keys[-1] if self.data.id else ""
        if not self.labelled:
            return Example(texts, math.nan, group, key)
        label = self.task.read_label(row.values[-1])
        if label is None:
            reason = self.unknown_label if name(row.values[-1]) else "missing label"
            return Problem(self.data.label, reason, str(row.values[-1])[:200])
        return Example(texts, label, group, key)


def _unique(
    waiting: Sequence[tuple[Path, Row, Example]], ids: HashSet, data: DataConfig, rejects: Rejects
) -> list[Example]:
    """Returns the examples whose id was not there before; the others are rejected."""
    if not data.id:
        return [example for *_, example in waiting]
    examples = []
    new = ids.add(np.array([hash64(example.id) for *_, example in waiting], np.uint64))
    for (path, row, example), first in zip(waiting, new, strict=True):
        if first or not example.id:
            examples.append(example)
        else:
            rejects.add(path, row.number, data.id, "duplicate id", example.id, row.lines)
    return examples
