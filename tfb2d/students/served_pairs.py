"""Features of many pairs as they are served; `served_query` has those of one query with its titles."""

from typing import TYPE_CHECKING

import tensorflow as tf

from tfb2d.students.pairs import pooled_features
from tfb2d.students.served_query import bells
from tfb2d.students.served_tokens import Tokens

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent


def pair_features(
    served: "ServedStudent", query: tf.Tensor, title: tf.Tensor, owners: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what the dense layers read, for pairs; `owners[i]` is the index of title i's query, by default i.

    Returns:
      The queries' pools `[batch, dim]`, and features `[batch, features]`.
    """
    batch = tf.size(title)
    tokens = Tokens(served, tf.concat([query, title], 0))
    if owners is not None:
        tokens.repeat_queries(tf.size(query), owners)
    lengths = tf.raw_ops.DenseBincount(input=tokens.rows, size=tokens.n, weights=tf.zeros([0]), binary_output=False)
    query_lengths, title_lengths = tf.split(lengths, 2)
    sizes = tf.stack([tf.cast(tf.reduce_sum(query_lengths), tf.int32), -1])
    query_length, title_length = (tf.maximum(n, 1.0)[:, None] for n in (query_lengths, title_lengths))
    query_pool, title_pool = tf.split(tokens.pools, 2)
    features = pooled_features(served.config, query_pool, title_pool)
    if served.matched:
        features += _matches(served, tokens, sizes, batch, query_length, title_length)
    if served.soft:
        logs = _soft(served, tokens, query_lengths, title_lengths)
        features += [logs, logs / query_length]
    return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]


def _matches(
    served: "ServedStudent",
    tokens: Tokens,
    sizes: tf.Tensor,
    batch: tf.Tensor,
    query_length: tf.Tensor,
    title_length: tf.Tensor,
) -> list[tf.Tensor]:
    """Returns pools of the titles' and the queries' matched n-grams, `[batch, dim]`, and both shares, `[batch, orders]`."""
    orders = len(served.config.orders)
    # A key stands for an n-gram of one pair. The query's keys are sorted, and the title's keys are looked up in them.
    (query_rows, title_rows), (query_keys, title_keys) = (
        tf.split(values, sizes, num=2) for values in (tokens.rows, tokens.keys)
    )
    title_rows -= tf.cast(batch, tf.int64)
    span = served.config.buckets * orders

    def keyed(rows: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.reshape(rows[:, None] * span + tf.cast(keys, tf.int64), [-1])

    query_keys, title_keys = keyed(query_rows, query_keys), keyed(title_rows, title_keys)
    ordered = tf.concat([tf.sort(query_keys), [tf.int64.max]], 0)

    def position(keys: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LowerBound(sorted_inputs=ordered[None], values=keys[None])[0]

    positions = position(title_keys)
    hits = tf.where(tf.equal(tf.gather(ordered, positions), title_keys))[:, 0]
    counts = tf.scatter_nd(tf.gather(positions, hits)[:, None], tf.ones_like(hits, tf.int32), tf.shape(ordered))
    query_hits = tf.where(tf.gather(counts, position(query_keys)) > 0)[:, 0]
    parts = []
    for side, at, rows, length in ((1, hits, title_rows, title_length), (0, query_hits, query_rows, query_length)):
        flat = tf.reshape(tf.split(tokens.at, sizes, num=2)[side], [-1])
        owners = tf.gather(rows, at // orders)
        sums = tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=tokens.data, indices=tf.gather(flat, at), segment_ids=owners, num_segments=batch
        )
        counts = tf.math.bincount(
            tf.cast(owners * orders + at % orders, tf.int32),
            minlength=batch * orders,
            maxlength=batch * orders,
            dtype=tf.float32,
        )
        parts.append((sums * tf.math.rsqrt(length * orders), tf.reshape(counts, [-1, orders]) / (length * orders)))
    return [parts[0][0], parts[1][0], parts[0][1], parts[1][1]]


def _soft(served: "ServedStudent", tokens: Tokens, query_lengths: tf.Tensor, title_lengths: tf.Tensor) -> tf.Tensor:
    """Returns log counts of kernels, summed over the query's tokens: `[batch, kernels]`."""
    # Texts are padded for the product alone. Kernels are computed for pairs of real tokens.
    lengths = tf.stack([query_lengths, title_lengths])
    longest = tf.cast(tf.maximum(tf.reduce_max(lengths, 1), 0.0), tf.int64)
    assert served.soft
    data, at = served.soft.read(tokens.soft_ids)
    at = tf.scatter_nd(tokens.indices, at, tf.stack([tokens.n, tf.reduce_max(longest)]))
    query_vectors, title_vectors = (
        tf.gather(data, padded[:, : longest[side]]) for side, padded in enumerate(tf.split(at, 2))
    )
    cosine = tf.matmul(query_vectors, title_vectors, transpose_b=True)
    there = tf.logical_and(tf.sequence_mask(query_lengths)[:, :, None], tf.sequence_mask(title_lengths)[:, None])
    shape = tf.shape(cosine)
    at = tf.where(tf.reshape(there, [-1]))[:, 0]
    near = bells(served.near.distances(tf.gather(tf.reshape(cosine, [-1]), at)))
    counts = tf.raw_ops.SparseSegmentSumWithNumSegments(
        data=near,
        indices=tf.range(tf.size(at)),
        segment_ids=tf.cast(at, tf.int32) // shape[2],
        num_segments=shape[0] * shape[1],
    )
    logs = tf.math.log1p(tf.reshape(counts, tf.stack([shape[0], shape[1], served.config.kernels])))
    return tf.reduce_sum(logs, 1)
