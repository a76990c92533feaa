"""How often training read each row of a student's tables."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfb2d.students import ngrams
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.rows import TrainingRows


def count_ids(rows: TrainingRows, layers: Iterable[NGramEmbedding]) -> list[np.ndarray]:
    """Occurrences of each n-gram id in hashed rows, all fields together: `[buckets]` int64 a layer."""
    layers = list(layers)
    counts = [np.zeros(layer.buckets, np.int64) for layer in layers]
    for hashes, splits in ngrams.chunks(rows):
        ragged = tf.RaggedTensor.from_row_splits(hashes, splits, validate=False)
        for layer, count in zip(layers, counts, strict=True):
            ids, times = np.unique(layer.ids(ragged).numpy(), return_counts=True)
            count[ids] += times
    return counts
