"""A vocabulary in place of the hash, as the original BERT2DNN code has it; for comparison only, it is never served.

The most frequent n-grams of the transfer rows have a row each; all others share row 0. An n-gram is looked up by its id in
2^31 - 1 buckets. A million n-grams have a few hundred collisions there, too few to change a figure.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import ngrams, text, text_spec
from tfb2d.students.layers import start_rows

if TYPE_CHECKING:
    from tfb2d.students.model import Student
    from tfb2d.students.rows import HashedRows


def frequent(rows: "HashedRows", orders: tuple[int, ...], size: int, index: np.ndarray) -> np.ndarray:
    """Returns the ids of the most frequent n-grams of hashed rows, rising: at most `size`, in 2^31 - 1 buckets.

    Rows outside of `index` `[n]` do not count.
    """
    keys, counts = zip(*(ngrams.distinct(rows, order, index) for order in orders), strict=True)
    every, times = np.concatenate(keys), np.concatenate(counts)
    best = np.lexsort((every, -times))[:size]
    return np.unique(text_spec.rows_of(every[best], text_spec.MAX_BUCKETS))


def use(student: "Student", ids: np.ndarray) -> None:
    """Makes a student with a table of `len(ids) + 1` rows read a vocabulary: n-gram `ids[i]` has row i + 1.

    All layers take table rows from the student's `ngrams`.
    """
    known = tf.constant(ids, tf.int32)
    orders = student.config.orders

    def look_up(hashes: tf.RaggedTensor) -> tf.Tensor:
        keys = text.ngram_ids(hashes, orders, text_spec.MAX_BUCKETS)
        flat = tf.reshape(keys, [-1])
        index = tf.searchsorted(known, flat)
        hit = tf.equal(tf.gather(known, tf.minimum(index, len(ids) - 1)), flat)
        return tf.reshape(tf.where(hit, index + 1, 0), tf.shape(keys))

    student.ngrams.ids = look_up  # type: ignore[method-assign]


def start_from(student: "Student", ids: np.ndarray, hashes: np.ndarray, vectors: np.ndarray) -> None:
    """Starts a student that reads a vocabulary from word vectors `[n, width]`, as `Student.start_from` does.

    Words outside the vocabulary are left out.
    """
    table = student.ngrams.table
    made = table.numpy()
    student.start_from(hashes, vectors)  # for the table of a pair's soft matching, which is hashed
    if 1 in student.config.orders:
        keys = text_spec.ngram_ids(hashes, (1,), text_spec.MAX_BUCKETS)[:, 0]
        index = np.minimum(np.searchsorted(ids, keys), len(ids) - 1)
        known = np.flatnonzero(ids[index] == keys)
        rows, first = np.unique(index[known] + 1, return_index=True)
        made[rows] = start_rows(vectors, student.config.dim)[known[first]]
    table.assign(made)
