"""Features of one query with its titles as they are served: of a ranking, or of a single pair.

`served` computes the same features for many queries. Titles of one query repeat each other's tokens. What belongs to a
token alone is therefore computed for the distinct tokens: rows of soft matching, cosines with the query's tokens and their
kernels, matches. A title sums what its tokens have. The query's own text is the first row of such sums: its counts of its
own n-grams are how often it repeats them.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.pairs import pooled_features

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent


def query_features(served: "ServedStudent", query: tf.Tensor, titles: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what the dense layers read, for one query `[1]` and its titles `[n]`.

    Returns:
      The query's pool `[1, dim]`, and features `[n, features]`.
    """
    config = served.config
    if not (served.matched or served.soft):
        query_pool, title_pool = tf.split(served.tokens(tf.concat([query, titles], 0)).pools, [1, -1], num=2)
        features = pooled_features(config, query_pool, title_pool)
        return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]
    texts = QueryTexts(served, tf.concat([query, titles], 0))
    lengths = tf.raw_ops.DenseBincount(input=texts.rows, size=texts.n, weights=tf.zeros([0]), binary_output=False)
    width = tf.cast(lengths[0], tf.int32)
    query_length, title_lengths = tf.split(tf.maximum(lengths, 1.0), [1, -1], num=2)
    query_pool, title_pool = tf.split(texts.pools, [1, -1], num=2)
    features = pooled_features(config, query_pool, title_pool)
    equal = [_equal(texts, order, width) for order in range(len(config.orders))] if served.matched else []
    near = [_near(served, texts, width)] if served.soft else []
    of_tokens = [matches for matches, own in zip(equal, texts.own, strict=False) if own]
    if of_tokens or near:
        sums = texts.by_text(
            tf.concat(of_tokens + near, 1) if of_tokens and near else (of_tokens + near)[0], texts.token_at
        )
        token_counts, sums = tf.split(sums, tf.stack([width, -1]), 1, num=2) if of_tokens and near else (sums, sums)
    if served.matched:
        columns = zip(equal, texts.own, texts.at_ids, strict=True)
        counts = [token_counts if own else texts.by_text(matches, at) for matches, own, at in columns]
        features += _matches(served, texts, counts, width, query_length, title_lengths[:, None])
    if served.soft:
        logs = tf.reshape(tf.math.log1p(sums[1:]), tf.stack([tf.size(titles), width, config.kernels]))
        logs = tf.reduce_sum(logs, 1)
        features += [logs, logs / query_length]
    return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]


class QueryTexts:
    """Holds the tokens of a query and its titles, text by text, and which of them are the same.

    Attributes:
      rows: the text of each token, `[tokens]` int64.
      n: the number of texts.
      token_at: each token's index among the distinct tokens, `[tokens]` int32.
      ids: for each order, rows of the n-gram table, int32: of the distinct tokens, or of the n-gram at each token.
      own: for each order, whether its ids are those of the distinct tokens.
      at_ids: for each order, each token's index among the ids, `[tokens]` int32.
      soft_ids: rows of the soft-match table, of the distinct tokens.
      data, at: float rows, and for each order the index of each token's n-gram among them, `[tokens]`.
      pools: pooled n-grams, `[n, dim]`.
    """

    def __init__(self, served: "ServedStudent", texts: tf.Tensor) -> None:
        config = served.config
        values, indices, self.n = text.flat_hashes(texts, config.max_tokens, config.affixes)
        self.rows = indices[:, 0]
        distinct, self.token_at = tf.unique(values)
        first = text.mixed(distinct, self.rows, (1,))[:, 0]
        longer = tuple(order for order in config.orders if order > 1)
        ahead = tf.unstack(text.mixed(values, self.rows, longer), len(longer), 1) if longer else []
        mixed = dict(zip(longer, ahead, strict=True))
        self.own = [order == 1 for order in config.orders]
        self.ids = [tf.math.floormod(mixed.get(order, first), config.buckets) for order in config.orders]
        each = tf.range(tf.size(values))
        self.at_ids = [self.token_at if own else each for own in self.own]
        self.soft_ids = tf.math.floormod(first, config.soft_buckets) if served.soft else None
        if served.table.packed:
            self.data = served.table.vectors(tf.concat(self.ids, 0) if len(self.ids) > 1 else self.ids[0])
            self.at = [
                at + tf.add_n([tf.size(ids) for ids in self.ids[:order]]) if order else at
                for order, at in enumerate(self.at_ids)
            ]
        else:
            self.data = served.table.values.read_value()
            columns = zip(self.ids, self.at_ids, self.own, strict=True)
            self.at = [tf.gather(ids, at) if own else ids for ids, at, own in columns]
        self.pools = pools_of(self.data, tf.stack(self.at, 1), self.rows, self.n)

    def by_text(self, values: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        """Sums `values[at]` over each text's tokens: `[n, *]`."""
        return tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=values, indices=at, segment_ids=self.rows, num_segments=self.n
        )


def _equal(texts: QueryTexts, order: int, width: tf.Tensor) -> tf.Tensor:
    """Says which n-grams of an order equal the query's: `[n-grams, query tokens]` float32."""
    ids = texts.ids[order]
    of_query = tf.gather(ids, texts.token_at[:width]) if texts.own[order] else ids[:width]
    return tf.cast(tf.equal(ids[:, None], of_query), tf.float32)


def _near(served: "ServedStudent", texts: QueryTexts, width: tf.Tensor) -> tf.Tensor:
    """Computes the kernels of each distinct token with each of the query's: `[distinct, query tokens * kernels]`."""
    assert served.soft
    units = served.soft.vectors(texts.soft_ids)
    cosines = tf.matmul(units, tf.gather(units, texts.token_at[:width]), transpose_b=True)
    return tf.reshape(bells(served.near.distances(cosines)), tf.stack([tf.shape(units)[0], width * served.config.kernels]))


FAR = 9.3  # exp(-9.3^2) is 2.7e-38, above the least normal float32


def bells(distances: tf.Tensor) -> tf.Tensor:
    """Computes kernels from the distances of `Kernels.distances`, but none below 2.7e-38.

    Exponentials that are smaller are denormal. Where a graph runs in its caller's thread, which does not flush them to
    zero, TensorFlow's kernel then takes four times as long.
    """
    return tf.exp(-tf.square(tf.raw_ops.ClipByValue(t=distances, clip_value_min=-FAR, clip_value_max=FAR)))


def _matches(
    served: "ServedStudent",
    texts: QueryTexts,
    counts: list[tf.Tensor],
    width: tf.Tensor,
    query_length: tf.Tensor,
    lengths: tf.Tensor,
) -> list[tf.Tensor]:
    """Returns pools of each title's and the query's matched n-grams, and shares; `counts` are `[texts, query tokens]`."""
    orders, dim = len(counts), served.config.dim
    # The n-grams of one order stand together, one for each token of the query.
    repeated, often = tf.split(tf.concat(counts, 1) if orders > 1 else counts[0], [1, -1], num=2)
    vectors = tf.gather(
        texts.data, tf.concat([at[:width] for at in texts.at], 0) if orders > 1 else texts.at[0][:width]
    )
    order = tf.tile(np.eye(orders, dtype=np.float32)[:, None], tf.stack([1, width, 1]))
    sums = tf.matmul(
        tf.concat([often / repeated, tf.minimum(often, 1.0)], 0),
        tf.concat([vectors, tf.reshape(order, [-1, orders])], 1),
    )
    title_sums, query_sums = tf.split(sums, 2)
    (matched, title_hits), (query_matched, query_hits) = (
        tf.split(sums, [dim, orders], 1) for sums in (title_sums, query_sums)
    )
    return [
        matched * tf.math.rsqrt(lengths * orders),
        query_matched * tf.math.rsqrt(query_length * orders),
        title_hits / lengths,
        query_hits / query_length,
    ]


def pools_of(data: tf.Tensor, at: tf.Tensor, rows: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Pools `data[at]` by text as `SqrtNPool` does: `[n, dim]`; `at` is `[tokens, orders]`."""
    orders = at.shape[1]
    segments = tf.reshape(tf.stack([rows] * orders, 1), [-1]) if orders > 1 else rows
    return tf.raw_ops.SparseSegmentSqrtNWithNumSegments(
        data=data, indices=tf.reshape(at, [-1]), segment_ids=segments, num_segments=n
    )
