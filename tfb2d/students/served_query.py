"""Features of one query with its titles as they are served: of a ranking, or of a single pair.

`served_pairs` computes the same features for many queries. Titles of one query repeat each other's tokens. Cosines with the
query's tokens and their kernels are therefore computed for the distinct tokens, and a title sums what its tokens have.

The number of ops counts as much as their size. The query is the last of the texts and is treated as one more title, whose
features are left out at the end: so nothing has to be split.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.pairs import pooled_features
from tfb2d.students.served_tokens import Tokens

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent

FAR = 9.3  # exp(-9.3^2) is 2.7e-38, above the least normal float32


def query_features(served: "ServedStudent", query: tf.Tensor, titles: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what the dense layers read, for one query `[1]` and its titles `[n]`.

    Returns:
      The query's pool `[1, dim]`, and features `[n, features]`.
    """
    if served.matched or served.soft:
        texts = QueryTexts(served, tf.concat([titles, query], 0))
        query_pool = texts.pools[-1:]
        features = pooled_features(served.config, query_pool, texts.pools)
        if served.matched:
            features += _matches(texts)
        if served.soft:
            features += _soft(served, texts)
        return query_pool, tf.concat(features, 1)[:-1]
    query_pool, title_pool = tf.split(Tokens(served, tf.concat([query, titles], 0)).pools, [1, -1], num=2)
    features = pooled_features(served.config, query_pool, title_pool)
    return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]


class QueryTexts:
    """Holds the tokens of titles and, behind them, of their query, text by text.

    Attributes:
      rows: the text of each token, `[tokens]` int64.
      n: the number of texts, int64.
      tokens, distinct, width: numbers of all tokens, of distinct tokens and of the query's tokens, int64.
      length: the query's tokens as float32.
      roots: `1 / sqrt(n-grams)` of each text, `[n, 1]` float32.
      mixed, token_at: what the distinct tokens are mixed to, int32, and each token's index among them, `[tokens]` int64.
      ids: rows of the n-gram table, `[orders, tokens]` int32.
      data, at: rows that were read, and for each order the index of each token's n-gram among them, `[tokens]` int64.
      pools: pooled n-grams, `[n, dim]`.
    """

    def __init__(self, served: "ServedStudent", texts: tf.Tensor) -> None:
        config = served.config
        values, indices, self.n = text.flat_hashes(texts, config.max_tokens, config.affixes)
        self.rows = tf.unstack(indices, 2, 1)[0]
        lengths = tf.raw_ops.DenseBincount(input=self.rows, size=self.n, weights=tf.zeros([0]), binary_output=False)
        self.length = lengths[-1]
        self.tokens, self.width = tf.size(values, tf.int64), tf.cast(self.length, tf.int64)
        self.roots = tf.expand_dims(tf.math.rsqrt(tf.maximum(lengths, 1.0) * len(config.orders)), 1)
        mixed = text.mixed(values, self.rows, config.orders, axis=0)
        self.ids = tf.math.floormod(mixed, config.buckets)
        alone = 1 in config.orders
        first = mixed[config.orders.index(1)] if alone else text.mixed(values, self.rows, (1,), axis=0)[0]
        self.mixed, self.token_at = tf.unique(first, tf.int64)
        self.distinct = tf.size(self.mixed, tf.int64)
        # Rows are gathered first, which fetches them ahead: sums that read the table take twice as long.
        read, self.at, behind = [], [], tf.constant(0, tf.int64)
        for order, ids in zip(config.orders, tf.unstack(self.ids, len(config.orders)), strict=True):
            read.append(tf.math.floormod(self.mixed, config.buckets) if order == 1 else ids)
            end = behind + (self.distinct if order == 1 else self.tokens)
            self.at.append(self.token_at if order == 1 else tf.range(behind, end))
            behind = end
        self.data = served.table.vectors(tf.concat(read, 0) if len(read) > 1 else read[0])
        sums = [self.sums(self.data, at) for at in self.at]
        self.pools = (tf.add_n(sums) if len(sums) > 1 else sums[0]) * self.roots

    def sums(self, values: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        """Sums `values[at]` over each text's tokens: `[n, *]`."""
        return tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=values, indices=at, segment_ids=self.rows, num_segments=self.n
        )

    def of_query(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the query's part of values, `[tokens, *]`."""
        return values[self.tokens - self.width :]


def _matches(texts: QueryTexts) -> list[tf.Tensor]:
    """Returns pools of each title's and of the query's matched n-grams, `[n, dim]`, and both shares, `[n, orders]`."""
    orders = texts.ids.shape[0]
    ngrams = texts.width * orders  # of the query, those of one order behind those of another
    equal = tf.equal(texts.ids[:, texts.tokens - texts.width :, None], texts.ids[:, None])
    ngram, token = tf.unstack(tf.where(tf.reshape(equal, tf.stack([ngrams, texts.tokens]))), 2, 1)
    # How often each text has each of them.
    keys = tf.gather(texts.rows, token) * ngrams + ngram
    counts = tf.raw_ops.DenseBincount(input=keys, size=texts.n * ngrams, weights=tf.zeros([0]), binary_output=False)
    counts = tf.reshape(counts, tf.stack([texts.n, ngrams]))
    # A title's n-gram is met as often as the query repeats it.
    root = texts.roots[-1]
    factors = tf.concat([counts / counts[-1:] * texts.roots, tf.minimum(counts, 1.0) * root], 0)
    vectors = tf.gather(texts.data, tf.concat([texts.of_query(at) for at in texts.at], 0))
    pools = tf.split(tf.matmul(factors, vectors), 2)
    hits = tf.reduce_sum(tf.reshape(factors, tf.stack([2 * texts.n, orders, texts.width])), 2)
    of_titles, of_query = tf.split(hits, 2)
    return [*pools, of_titles * texts.roots, of_query * root]


def _soft(served: "ServedStudent", texts: QueryTexts) -> list[tf.Tensor]:
    """Returns log counts of kernels, summed and averaged over the query's tokens: `[n, kernels]` each."""
    assert served.soft
    near = served.near
    units = served.soft.vectors(tf.math.floormod(texts.mixed, served.config.soft_buckets))
    cosines = tf.matmul(units, tf.gather(units, texts.of_query(texts.token_at)), transpose_b=True)
    scaled = tf.matmul(tf.reshape(cosines, [-1, 1]), near.slopes[None])
    # Kernels of one token of the query stand beside those of another: rows are long, and so quick to subtract from.
    columns = texts.width * near.number
    scaled = tf.reshape(scaled, tf.stack([texts.distinct, columns]))
    centres = tf.constant(np.tile(near.slopes * near.centres, served.config.max_tokens))[:columns]
    logs = tf.math.log1p(texts.sums(bells(scaled - centres), texts.token_at))
    logs = tf.reduce_sum(tf.reshape(logs, tf.stack([texts.n, texts.width, near.number])), 1)
    return [logs, logs / tf.maximum(texts.length, 1.0)]


def bells(distances: tf.Tensor) -> tf.Tensor:
    """Computes kernels from the distances of `Kernels.distances`, but none below 2.7e-38.

    Exponentials that are smaller are denormal. Where a graph runs in its caller's thread, which does not flush them to
    zero, TensorFlow's kernel then takes four times as long.
    """
    return tf.exp(-tf.square(tf.raw_ops.ClipByValue(t=distances, clip_value_min=-FAR, clip_value_max=FAR)))
