"""How often training read each row of a student's tables."""

from collections.abc import Iterable

import numpy as np

from tfb2d.students import ngrams, text_spec
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.rows import HashedRows


def count_ids(rows: HashedRows, layers: Iterable[NGramEmbedding]) -> list[np.ndarray]:
    """Occurrences of each n-gram id in hashed rows, all fields together: `[buckets]` int64 a layer."""
    layers = list(layers)
    counts = [np.zeros(layer.buckets, np.int64) for layer in layers]
    for hashes, splits in ngrams.chunks(rows):
        for layer, count in zip(layers, counts, strict=True):
            ids, times = np.unique(text_spec.ngram_ids(hashes, layer.orders, layer.buckets, splits), return_counts=True)
            count[ids] += times
    return counts
