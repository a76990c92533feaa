"""Makes a trained student's int8 form, within a number of megabytes where there is a bound."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.config import ConfigError
from tfb2d.students import ngrams

if TYPE_CHECKING:
    from tfb2d.students.layers import NGramEmbedding
    from tfb2d.students.model import Student
    from tfb2d.students.rows import TrainingRows

# By number of fields: what a SavedModel holds besides weights, at most. Graphs of signatures, folding table, warm-up.
GRAPH_BYTES = {1: 500_000, 2: 1_000_000}
# Rows that unseen n-grams share. Soft matching compares rows, so there unseen words share about a thousand start values.
# Elsewhere they share one row of zeros.
UNSEEN_ROWS = {"ngrams": 1, "kernels": 1024}


def pack(student: "Student", rows: "TrainingRows", max_megabytes: float = 0.0) -> "Student":
    """Returns a student's int8 form: rows that training never read share a few, and under a budget rare rows are merged.

    `max_megabytes` bounds the SavedModel (10^6 bytes); 0 sets no bound. Raises ConfigError where it cannot be met, with the
    least that can.
    """
    from tfb2d.compress.budget import BudgetError, Table, fit
    from tfb2d.compress.student import stored_bytes, with_tables

    layers = student.embeddings
    counts = dict(zip(layers, _count_ids(rows, list(layers.values())), strict=True))
    tables = {name: Table(layer.table.numpy(), counts[name], UNSEEN_ROWS[name]) for name, layer in layers.items()}
    other_bytes = stored_bytes(student) - sum(table.values.nbytes for table in tables.values())
    other_bytes += GRAPH_BYTES[len(student.task.fields)]
    try:
        return with_tables(student, fit(tables, int(max_megabytes * 1e6) - other_bytes if max_megabytes else None))
    except BudgetError as error:
        least = np.ceil((other_bytes + error.least) / 1e4) / 100
        raise ConfigError(
            f"compress.max_megabytes is {max_megabytes}; this student takes {least} at least: "
            f"{other_bytes / 1e6:.2f} for its dense layers and the graph, the rest for its tables "
            "(with fewer student.buckets they take less)"
        ) from None


def _count_ids(rows: "TrainingRows", layers: "Sequence[NGramEmbedding]") -> list[np.ndarray]:
    """Counts how often each row of the layers' tables occurs in hashed rows, over all fields: `[buckets]` int64 a layer."""
    from tfb2d.students.rows import ragged

    counts = [np.zeros(layer.buckets, np.int64) for layer in layers]
    for hashes, splits in ngrams.chunks(rows):
        tokens = ragged(hashes, splits)
        for layer, count in zip(layers, counts, strict=True):
            ids, times = np.unique(layer.ids(tokens).numpy(), return_counts=True)
            count[ids] += times
    return counts
