"""Tables as they are served: rows are read by few gathers, and pooled by one op.

Rows of the soft-match table have length 1 already. `SparseSegmentSqrtN` reads the rows that it pools without gathering them
first.
"""

import numpy as np
import tensorflow as tf

from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.packed import PackedNGramEmbedding


class Table:
    """Reads a table for serving.

    Args:
      layer: whose rows these are; rows of a compressed one stay as they are stored.
      unit: whether to bring rows to length 1, as soft matching compares them.
    """

    def __init__(self, layer: NGramEmbedding, unit: bool = False) -> None:
        self.dim = layer.dim
        self.packed = isinstance(layer, PackedNGramEmbedding)
        if self.packed:
            scale = layer.scale.numpy()[:, None]
            if unit:
                scale *= _over_root(np.square(layer.values.numpy() * scale).sum(1))[:, None]
            # A row's scale stands behind its numbers, as four bytes: one gather reads both.
            rows = np.concatenate([layer.values.numpy(), scale.view(np.int8)], 1)
            self.values, self.remap = tf.Variable(rows, trainable=False, name="rows"), layer.remap
            self.weights = [self.values, *([] if self.remap is None else [self.remap])]
        else:
            self.values = layer.table
            if unit:
                rows = layer.table.numpy()
                rows *= _over_root(np.square(rows).sum(1))[:, None]
                self.values = tf.Variable(rows, trainable=False, name="unit_table")
            self.weights = [self.values]

    def vectors(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows, float32 `[..., dim]`, of int32 ids of any shape."""
        # A float table is read whole, which copies nothing. ResourceGather would mark it as partly written; from then on
        # each whole read would copy it. An int8 table is read by gathers alone.
        if not self.packed:
            return tf.gather(self.values.read_value(), ids)
        rows = ids if self.remap is None else tf.gather(self.remap, ids)
        values, scale = tf.split(tf.gather(self.values, rows), [self.dim, 4], -1)
        return tf.cast(values, tf.float32) * tf.bitcast(scale, tf.float32)[..., None]

    def read(self, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float rows `[rows, dim]`, and the index of each id's row: int32 of the shape of `ids`.

        A float table is returned as it is, an int8 one as its distinct rows. A batch repeats most of its n-grams; read
        once each, their rows stay in the cache. (Reading every repeat took twice as long at batch 1,024.)
        """
        if not self.packed:
            return self.values.read_value(), ids
        distinct, at = tf.unique(tf.reshape(ids, [-1]))
        return self.vectors(distinct), tf.reshape(at, tf.shape(ids)) if ids.shape.rank > 1 else at


def pools_of(data: tf.Tensor, at: tf.Tensor, rows: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Pools `data[at]` by text as `SqrtNPool` does: `[n, dim]`; `at` is `[tokens, orders]`."""
    orders = at.shape[1]
    segments = tf.reshape(tf.stack([rows] * orders, 1), [-1]) if orders > 1 else rows
    return tf.raw_ops.SparseSegmentSqrtNWithNumSegments(
        data=data, indices=tf.reshape(at, [-1]), segment_ids=segments, num_segments=n
    )


def _over_root(squares: np.ndarray) -> np.ndarray:
    """Returns the factors by which `l2_normalize` multiplies rows of these squared lengths."""
    return (1 / np.sqrt(np.maximum(squares, 1e-8))).astype(np.float32)
