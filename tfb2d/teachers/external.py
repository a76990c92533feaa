"""Bring your own logits: scores that somebody else made (an LLM, a click model, another ranker) take a teacher's place."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfb2d.config import TeacherConfig
from tfb2d.data.errors import DataError
from tfb2d.data.files import expand
from tfb2d.data.keys import text_hashes
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.data.tables import iter_part, part_files
from tfb2d.data.task import Task
from tfb2d.teachers.shards import clear, write_shard

NAMES = ("logit", "score", "probability")  # of the column, if the settings name none
LEAST = 1e-6  # probabilities are kept this far from 0 and 1: logits stay within 13.8
CHUNK = 8192


def attach_logits(config: TeacherConfig, task: Task, source: Path, out: Path) -> dict[str, int]:
    """Gives each row of a table the logits that the user's files hold for exactly its texts.

    The files may be in any order and hold more or less than the table. A text that was scored more than once gets the mean
    of its logits, a row without a score NaN. Memory: 8 bytes a scored row for its hash, and 4 a logit.

    Args:
      config: `logits` names the files, `logits_column` the column of scores.
      task: the files' text columns are called as its fields.
      source: folder of `part-*.parquet` with the text fields.
      out: gets a part for each of the source's: the fields, and `logit` or `logit_0`, `logit_1`, ..., float32.

    Returns:
      `{"matched": rows with a score, "missing": rows without, "unused": scored texts that the table does not hold}`.

    Raises:
      DataError: a file without these columns, or a score that is no number or no probability.
    """
    hashes, logits = _scores(config, task)
    used = np.zeros(len(hashes), bool)
    matched = missing = 0
    clear(out)
    for number, part in enumerate(part_files(source)):
        table = pa.Table.from_batches(iter_part(part, task.fields), pa.schema([(f, pa.string()) for f in task.fields]))
        wanted = text_hashes(zip(*table.to_pydict().values(), strict=True))
        at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        found = hashes[at] == wanted
        used[at[found]] = True
        write_shard(out, number, table, np.where(found[:, None], logits[at], np.float32(np.nan)))
        matched += int(found.sum())
        missing += int((~found).sum())
    return {"matched": matched, "missing": missing, "unused": int((~used).sum())}


def _scores(config: TeacherConfig, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the scored texts, uint64 [n], rising, and their logits, float32 [n, k]."""
    hashes, logits = [], []
    for path in expand(config.logits):
        columns = _columns(path, config.logits_column, task.n_logits)
        for texts, values in _chunks(path, task.fields, columns):
            hashes.append(text_hashes(texts))
            logits.append(values)
    if not hashes:
        raise DataError(f"{', '.join(config.logits)}: no rows")
    unique, place, counts = np.unique(np.concatenate(hashes), return_inverse=True, return_counts=True)
    sums = np.zeros((len(unique), task.n_logits))
    np.add.at(sums, place, np.concatenate(logits))
    return unique, (sums / counts[:, None]).astype(np.float32)


def _columns(path: Path, wanted: str, n_logits: int) -> list[str]:
    """The columns of a file that hold its scores."""
    present = columns_of(path)
    names = [wanted] if wanted else NAMES
    families = [[name] if n_logits == 1 else [f"{name}_{i}" for i in range(n_logits)] for name in names]
    for family in families:
        if set(family) <= set(present):
            return family
    choice = " or ".join(", ".join(family) for family in families)
    raise DataError(f"{path} has no column of scores: {choice} (its columns: {', '.join(present[:20])})")


def _chunks(
    path: Path, fields: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[list[tuple[str, ...]], np.ndarray]]:
    """Texts and logits, float64 [n, k], of at most CHUNK rows at a time; rows that cannot be read are left out."""
    are_probabilities = any(word in columns[0].lower() for word in ("score", "prob"))
    texts: list[tuple[str, ...]] = []
    values: list[list[float]] = []
    for row in read_rows(path, [*fields, *columns]):
        if row.problem:  # the data stage has counted it
            continue
        found = row.values[len(fields) :]
        values.append(
            [_number(path, row.number, *pair, are_probabilities) for pair in zip(columns, found, strict=True)]
        )
        texts.append(tuple(text or "" for text in row.values[: len(fields)]))
        if len(texts) == CHUNK:
            yield texts, _logits(values, are_probabilities)
            texts, values = [], []
    if texts:
        yield texts, _logits(values, are_probabilities)


def _number(path: Path, row: int, column: str, value: Any, is_probability: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{path}, row {row}, column {column!r}: {value!r} is no number") from None
    if not math.isfinite(number):
        raise DataError(f"{path}, row {row}, column {column!r}: {number} is not finite")
    if is_probability and not 0 <= number <= 1:
        raise DataError(f"{path}, row {row}, column {column!r}: {number} is no probability; logits are called 'logit'")
    return number


def _logits(values: Sequence[Sequence[float]], are_probabilities: bool) -> np.ndarray:
    found = np.array(values)
    if not are_probabilities:
        return found
    found = found.clip(LEAST, 1 - LEAST)
    return np.log(found / (1 - found)) if found.shape[1] == 1 else np.log(found)
