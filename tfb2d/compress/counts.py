"""Counts how often training read each row of a student's tables."""

from collections.abc import Iterable

import numpy as np

from tfb2d.students import ngrams
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.rows import TrainingRows, ragged


def count_ids(rows: TrainingRows, layers: Iterable[NGramEmbedding]) -> list[np.ndarray]:
    """Counts the occurrences of each n-gram id in hashed rows, over all fields.

    Returns:
      `[buckets]` int64 for each layer.
    """
    layers = list(layers)
    counts = [np.zeros(layer.buckets, np.int64) for layer in layers]
    for hashes, splits in ngrams.chunks(rows):
        tokens = ragged(hashes, splits)
        for layer, count in zip(layers, counts, strict=True):
            ids, times = np.unique(layer.ids(tokens).numpy(), return_counts=True)
            count[ids] += times
    return counts
