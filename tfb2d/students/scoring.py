"""Computes the logits of texts with a student in this process."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


def score_texts(score: Callable, columns: Sequence[Sequence[str]], batch: int = 1024) -> np.ndarray:
    """Computes logits `[n, n_logits]` float32 of texts, one sequence a field, batch by batch.

    Args:
      score: a function of `[batch]` string tensors, one a field, to logits, such as `Student.model`.
      columns: the texts.
      batch: rows of a call.
    """
    function = tf.function(score, reduce_retracing=True)
    parts = [
        function([tf.constant(column[start : start + batch], tf.string) for column in columns]).numpy()
        for start in range(0, len(columns[0]), batch)
    ]
    return np.concatenate(parts)
