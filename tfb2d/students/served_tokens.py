"""Texts as the served graph reads them: flat tokens, their n-grams, and pools of these."""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.served_composed import composed_ngrams, convolved_pools
from tfb2d.students.served_table import pools_of

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent


class Tokens:
    """Holds texts as flat tokens, read once.

    Attributes:
      rows: the text of each token, `[tokens]` int64.
      indices: the text of each token and its index there, `[tokens, 2]` int64.
      n: the number of texts.
      ids: rows of the n-gram table, `[tokens, orders]` int32.
      keys: ids that differ between orders, int32 or int64.
      soft_ids: rows of the soft-match table, `[tokens]` int32.
      data, at: float rows, and the index of each n-gram's row among them, `[tokens, orders]`.
      composed: composed n-grams before any convolution, `[tokens, dim]`.
      pools: what the first dense layer reads, `[n, dim]` or wider; with an early exit that of the cheap output.
    """

    def __init__(self, served: "ServedStudent", texts: tf.Tensor) -> None:
        config = served.config
        if config.window:
            tokens, self.indices, self.n = text.flat_tokens(texts, config.max_tokens)
            self.rows = self.indices[:, 0]
            self.composed = tf.nn.relu(composed_ngrams(served, tokens, self.rows))
            full = config.convolutions and not served.cheap
            before = not full or served.narrow is not None
            pools = [pools_of(self.composed, tf.range(tf.size(tokens))[:, None], self.rows, self.n)] if before else []
            if full:
                pools.append(convolved_pools(served, self.composed, self.rows, self.n))
            self.pools = tf.concat(pools, 1) if len(pools) > 1 else pools[0]
            return  # composed n-grams are for single texts, which need no more
        values, self.indices, self.n = text.flat_hashes(texts, config.max_tokens, config.affixes)
        self.rows = self.indices[:, 0]
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
        """Repeats the first `queries` texts, so that text `owners[i]` is the query of the i-th text behind them."""
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
