"""Training pairs: rows of a query and a title with the teachers' scores, with each distinct text once.

Cross pairs are the in-batch negatives: a query with a title that was another query's. Transfer pairs are mostly titles that
some search had found for their query. Cross pairs show the twin titles that none would find. They are not taken for
irrelevant: the teachers score them before the twin learns, which costs a labelling of as many rows. Queries stand on a
ring, in the transfer set's order, and a query's cross pairs have titles of those that follow it. Batches are pieces of the
ring then, so that nearly all these titles are in the query's batch already and cost no encoding.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.config import DistillConfig, LabelConfig
from tfb2d.data.tables import ShardWriter, read_table
from tfb2d.data.task import Task
from tfb2d.distill.stack import probabilities
from tfb2d.distill.targets import mixed, stacked_logits
from tfb2d.errors import DataError
from tfb2d.outcomes import Stack
from tfb2d.runs import beside
from tfb2d.teachers.label import label_folder
from tfb2d.twin.model import distinct

NEAR = 3  # queries after a query whose titles it may get in cross pairs


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a title, n of them."""

    # queries, titles: the distinct texts
    queries: list[str]
    titles: list[str]
    # query_of, title_of: int64 `[n]`, each pair's text among them
    query_of: np.ndarray
    title_of: np.ndarray
    targets: np.ndarray  # float32 `[n]`, what is learnt: probabilities
    # Float32 `[n]`, the stacked teachers' logits over the temperature; NaN where no teacher scored a pair
    teacher: np.ndarray
    labels: np.ndarray  # float32 `[n]`, NaN where a pair has none

    def __len__(self) -> int:
        return len(self.query_of)


def training_pairs(
    table: Path, logits: Sequence[Path], task: Task, stack: Stack, config: DistillConfig, more: Sequence[Path] = ()
) -> Pairs:
    """Reads the transfer set, a `table` with its `label`s, and what the twin learns of it.

    `logits` are a folder per teacher, row for row the same as the table. `more` are such folders of pairs that stand
    behind the table's; these have no label. Raises DataError where no row has a teacher's logit or a label.
    """
    query, title = task.fields
    rows = read_table(table, [query, title, "label"])
    columns = [rows[query].to_pylist(), rows[title].to_pylist()]
    labels = rows["label"].to_numpy().astype(np.float32)
    teacher = stacked_logits(logits, task, stack)[:, 0]
    if more:
        extra = read_table(more[0], [query, title])
        columns = [column + extra[name].to_pylist() for column, name in zip(columns, task.fields, strict=True)]
        teacher = np.concatenate([teacher, stacked_logits(more, task, stack)[:, 0]])
        labels = np.concatenate([labels, np.full(extra.num_rows, np.nan, np.float32)])
    soft = probabilities(teacher[:, None], config.temperature)
    targets = mixed(soft, labels, config.hard_weight)[:, 0]
    known = np.flatnonzero(np.isfinite(targets))
    if not len(known):
        raise DataError(f"{table}: there is no row to learn from: none has a teacher's logit or a label")
    return _pairs(columns, known, targets, teacher / np.float32(config.temperature), labels)


def labelled_pairs(table: Path, task: Task) -> Pairs:
    """Reads a table whose rows all have labels; these are the targets."""
    query, title = task.fields
    rows = read_table(table, [query, title, "label"])
    labels = rows["label"].to_numpy().astype(np.float32)
    nothing = np.full(len(labels), np.nan, np.float32)
    return _pairs([rows[query].to_pylist(), rows[title].to_pylist()], np.arange(len(labels)), labels, nothing, labels)


def _pairs(
    columns: Sequence[list[str]], rows: np.ndarray, targets: np.ndarray, teacher: np.ndarray, labels: np.ndarray
) -> Pairs:
    queries, query_of = distinct([columns[0][row] for row in rows])
    titles, title_of = distinct([columns[1][row] for row in rows])
    return Pairs(queries, titles, query_of, title_of, targets[rows], teacher[rows], labels[rows])


def query_batches(query_of: np.ndarray, size: int, rng: np.random.Generator, ring: bool = False) -> list[np.ndarray]:
    """Yields the indices of each batch's pairs of an epoch, in random order; pairs of the same query are neighbours.

    So a batch has few distinct queries, and each is embedded once for all its titles. `query_of`, int64 `[n]`, is each
    pair's query. The last batch is smaller. A `ring` keeps the queries in their own order, from a random one on; then
    neighbours share their batches.
    """
    if not len(query_of):
        return []
    count = int(query_of.max()) + 1
    rank = (np.arange(count) + rng.integers(count)) % count if ring else rng.permutation(count)
    shuffled = rng.permutation(len(query_of))
    order = shuffled[np.argsort(rank[query_of[shuffled]], kind="stable")]
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def sample_cross_pairs(
    query_of: np.ndarray, title_of: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` cross pairs for each query, or fewer where its neighbours have no more titles.

    `query_of` and `title_of`, int64 `[n]`, are the known pairs. Returns queries and titles, int64 `[m]` each; no pair
    is a known one, and none comes twice.
    """
    queries = int(query_of.max(initial=-1)) + 1
    rows = np.argsort(query_of, kind="stable")
    starts = np.searchsorted(query_of[rows], np.arange(queries + 1))
    titles = [np.unique(title_of[rows[start:end]]) for start, end in pairwise(starts)]
    rng = np.random.default_rng([seed, 3])
    drawn_queries, drawn_titles = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for query in range(queries):
        others = [titles[(query + step) % queries] for step in range(1, min(NEAR, queries - 1) + 1)]
        new = np.setdiff1d(np.concatenate([np.empty(0, np.int64), *others]), titles[query])
        drawn = rng.permutation(new)[:count]
        drawn_queries.append(np.full(len(drawn), query))
        drawn_titles.append(drawn)
    return np.concatenate(drawn_queries), np.concatenate(drawn_titles)


def score_cross_pairs(
    teachers: Sequence[Path],
    outs: Sequence[Path],
    transfer: Path,
    task: Task,
    count: int,
    seed: int,
    config: LabelConfig,
    progress: bool,
) -> int:
    """Writes the logits of cross pairs of a transfer set by saved teachers, into a folder for each.

    After a kill it continues after the last whole shard. Returns how many pairs there are.
    """
    query, title = task.fields
    rows = read_table(transfer, [query, title])
    queries, query_of = distinct(rows[query].to_pylist())
    titles, title_of = distinct(rows[title].to_pylist())
    first, second = sample_cross_pairs(query_of, title_of, count, seed)
    table = pa.table({query: pa.array(queries).take(pa.array(first)), title: pa.array(titles).take(pa.array(second))})

    pairs = beside(outs[0], "rows")
    with ShardWriter(pairs, table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    for teacher, out in zip(teachers, outs, strict=True):
        label_folder(teacher, pairs, out, config, progress)
    shutil.rmtree(pairs)
    return table.num_rows
