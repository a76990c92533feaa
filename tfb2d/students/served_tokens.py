"""Tables and tokens as the served graph reads them.

Rows of the soft-match table have length 1 already. `SparseSegmentSqrtN` reads the rows that it pools without gathering them
first.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.packed import PackedNGramEmbedding

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent


class Table:
    """Reads a layer's table for serving; `unit` brings its rows to length 1, as soft matching compares them.

    Rows of a compressed table stay as they are stored.
    """

    def __init__(self, layer: NGramEmbedding, unit: bool = False) -> None:
        self.dim = layer.dim
        self.packed = isinstance(layer, PackedNGramEmbedding)
        if self.packed:
            scale = layer.scale.numpy()[:, None]
            if unit:
                scale *= _over_root(np.square(layer.values.numpy() * scale).sum(1))[:, None]
            # A row's scale follows its numbers, as four bytes: one gather reads both.
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


class Tokens:
    """Texts as flat tokens, read once, with their n-grams and the pools of these; the first `queries` texts are queries.

    Attributes:
      rows: the text of each token, `[tokens]` int64.
      indices: the text of each token and its index there, `[tokens, 2]` int64.
      n: the number of texts.
      ids: rows of the n-gram table, `[tokens, orders]` int32.
      keys: ids that differ between orders, int32 or int64.
      soft_ids: rows of the soft-match table, `[tokens]` int32.
      data, at: float rows, and the index of each n-gram's row among them, `[tokens, orders]`.
      pools: pooled n-grams, `[n, dim]`.
    """

    def __init__(self, served: "ServedStudent", texts: tf.Tensor, queries: tf.Tensor | int = 0) -> None:
        config = served.config
        tokens, self.indices, self.n = text.flat_tokens(texts, config.max_tokens)
        values = text.hashes(tokens, config.affixes)
        self.rows = self.indices[:, 0]
        if served.spelling:
            end = tf.searchsorted(self.rows, tf.cast(queries, tf.int64)[None])[0]
            values = served.spelling.read(tokens, values, 0, end)
        mixed = text.mixed(values, self.rows, config.orders)
        self.ids = tf.math.floormod(mixed, config.buckets)
        self.data, self.at = served.table.read(self.ids)
        self.pools = pools_of(self.data, self.at, self.rows, self.n)
        if served.matched:
            orders = len(config.orders)
            kind = np.int32 if config.buckets * orders < 2**31 else np.int64
            self.keys = tf.cast(self.ids, kind) + np.arange(orders, dtype=kind) * config.buckets
        if served.soft:
            alone = 1 in config.orders
            first = mixed[:, config.orders.index(1)] if alone else text.mixed(values, self.rows, (1,))[:, 0]
            self.soft_ids = tf.math.floormod(first, config.soft_buckets)

    def repeat_queries(self, queries: tf.Tensor, owners: tf.Tensor) -> None:
        """Repeats the first `queries` texts, so that text `owners[i]` is the query of the i-th text after them."""
        n, pairs = tf.cast(queries, tf.int64), tf.size(owners, tf.int64)
        split = tf.size(tf.where(self.rows < n), tf.int64)
        positions = tf.RaggedTensor.from_value_rowids(tf.range(split), self.rows[:split], n, validate=False)
        repeated = tf.gather(positions, owners)
        at = tf.concat([repeated.flat_values, tf.range(split, tf.size(self.rows, tf.int64))], 0)
        self.rows = tf.concat([repeated.value_rowids(), self.rows[split:] + (pairs - n)], 0)
        self.indices = tf.stack([self.rows, tf.gather(self.indices[:, 1], at)], 1)
        self.n = 2 * pairs
        self.pools = tf.concat([tf.gather(self.pools, owners), self.pools[queries:]], 0)
        for name in ("at", "keys", "soft_ids"):
            if hasattr(self, name):
                setattr(self, name, tf.gather(getattr(self, name), at))
