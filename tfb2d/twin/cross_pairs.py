"""Cross pairs: a query with a title that was another query's, scored by the teachers before the twin learns from them.

They are the in-batch negatives. Transfer pairs are mostly titles that some search had found for their query. Cross pairs
show the twin titles that none would find. They are not taken for irrelevant: the teachers score them, which costs a
labelling of as many rows. Queries stand on a ring, in the transfer set's order. A query's cross pairs have titles of the
queries that follow it. Batches are pieces of the ring then, so that nearly all these titles are in the query's batch
already and cost no encoding.
"""

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.config import LabelConfig
from tfb2d.data.tables import ShardWriter, read_table
from tfb2d.data.task import Task
from tfb2d.runs import beside
from tfb2d.teachers.label import label_folder
from tfb2d.twin.model import distinct

NEAR = 3  # queries behind a query whose titles it may get


def sample_cross_pairs(
    query_of: np.ndarray, title_of: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws cross pairs.

    Args:
      query_of, title_of: int64 `[n]`, the known pairs.
      count: pairs to draw for each query; fewer where its neighbours have no more titles.
      seed: of the draw.

    Returns:
      Queries and titles, int64 `[m]` each; no pair is a known one, and none comes twice.
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
    """Writes the teachers' logits of cross pairs; after a kill it goes on behind the last whole shard.

    Args:
      teachers: saved teachers' folders.
      outs: a folder of logits for each.
      transfer: the transfer set.
      task: names the fields.
      count, seed: see `sample_cross_pairs`.
      config: shards and batches.
      progress: whether to show progress bars.

    Returns:
      How many pairs there are.
    """
    query, title = task.fields
    rows = read_table(transfer, [query, title])
    queries, query_of = distinct(rows[query].to_pylist())
    titles, title_of = distinct(rows[title].to_pylist())
    first, second = sample_cross_pairs(query_of, title_of, count, seed)
    table = pa.table({query: pa.array(queries).take(pa.array(first)), title: pa.array(titles).take(pa.array(second))})
    for teacher, out in zip(teachers, outs, strict=True):
        pairs = beside(out, "rows")
        with ShardWriter(pairs, table.schema) as writer:
            for batch in table.to_batches():
                writer.write(batch)
        label_folder(teacher, pairs, out, config, progress)
        shutil.rmtree(pairs)
    return table.num_rows
