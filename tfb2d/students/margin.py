"""The margin loss between two titles of one query, and batches that hold several titles of a query.

Reference: Margin-MSE (Hofstätter et al. 2020, arXiv 2010.02666), section 4.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfb2d.students.rows import TrainingRows

LEAST = 1e-4  # probabilities are kept so far from 0 and 1, so that their logits are finite
CHUNK = 65_536  # rows whose keys are computed at a time


def margin_loss(targets: tf.Tensor, logits: tf.Tensor, queries: tf.RaggedTensor) -> tf.Tensor:
    """Returns the mean squared error of margins: of the logit of row 2i less that of row 2i + 1.

    Targets are probabilities, and logits the student's, each `[n, 1]`. Rows whose `queries`, token hashes `[n, (tokens)]`,
    differ have no margin; where all do, the loss is 0.
    """
    clipped = tf.clip_by_value(targets, LEAST, 1 - LEAST)
    errors = logits - tf.math.log(clipped / (1 - clipped))
    pairs = tf.shape(errors)[0] // 2
    keys = tf.reshape(tf.reduce_sum(queries, 1)[: 2 * pairs], [-1, 2])
    errors = tf.reshape(errors[: 2 * pairs], [-1, 2])
    same = tf.cast(keys[:, 0] == keys[:, 1], tf.float32)
    return tf.reduce_sum(same * tf.square(errors[:, 0] - errors[:, 1])) / tf.maximum(tf.reduce_sum(same), 1.0)


def query_keys(rows: TrainingRows) -> np.ndarray:
    """Returns `[n]` int64, equal where queries have the same words: the sum of the token hashes of the first field."""
    keys = [np.zeros(0, np.int64)]
    for start in range(0, rows.n, CHUNK):
        values, splits = rows.flat(np.arange(start, min(start + CHUNK, rows.n)))[0]
        sums = np.concatenate([[0], np.cumsum(values)])  # they wrap around, and so do their differences
        keys.append(sums[splits[1:]] - sums[splits[:-1]])
    return np.concatenate(keys)


def paired_batches(keys: np.ndarray, size: int, seed: Sequence[int], skip: int = 0) -> Iterator[np.ndarray]:
    """Yields the row numbers of an epoch's batches: rows 2i and 2i + 1 of a batch are of one query, where it has two.

    Every row comes once; `keys` are those of `query_keys`, and `skip` batches are left out at the beginning. All rows are
    shuffled in memory, which takes 24 bytes a row for the while.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    order = np.lexsort((rng.random(len(keys)), keys))
    even = len(order) // 2 * 2
    order = np.concatenate([rng.permutation(order[:even].reshape(-1, 2)).ravel(), order[even:]])
    step = max(2, size // 2 * 2)
    for start in range(skip * step, len(order), step):
        yield order[start : start + step]
