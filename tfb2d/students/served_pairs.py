"""Features of pairs as they are served: of many pairs, and of one query with its titles (a ranking, or a single pair).

Titles of one query repeat each other's tokens. Cosines with the query's tokens and their kernels are therefore computed for
the distinct tokens, and a title sums what its tokens have. The number of ops counts as much as their size. So the query is
the last of the texts and is treated as one more title, whose features are left out at the end: nothing has to be split.
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


def pair_features(
    served: "ServedStudent", query: tf.Tensor, title: tf.Tensor, owners: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what the dense layers read, for pairs; `owners[i]` is the index of title i's query, by default i.

    Returns:
      The queries' pools `[batch, dim]`, and features `[batch, features]`.
    """
    batch = tf.size(title)
    tokens = Tokens(served, tf.concat([query, title], 0), tf.size(query))
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
            features += _query_matches(texts)
        if served.soft:
            features += _query_soft(served, texts)
        return query_pool, tf.concat(features, 1)[:-1]
    query_pool, title_pool = tf.split(Tokens(served, tf.concat([query, titles], 0), 1).pools, [1, -1], num=2)
    features = pooled_features(served.config, query_pool, title_pool)
    return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]


class QueryTexts:
    """Holds the tokens of titles and, after them, of their query, text by text.

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
        tokens, indices, self.n = text.flat_tokens(texts, config.max_tokens)
        values = text.hashes(tokens, config.affixes)
        self.rows = tf.unstack(indices, 2, 1)[0]
        lengths = tf.raw_ops.DenseBincount(input=self.rows, size=self.n, weights=tf.zeros([0]), binary_output=False)
        self.length = lengths[-1]
        self.tokens, self.width = tf.size(values, tf.int64), tf.cast(self.length, tf.int64)
        if served.spelling:
            values = served.spelling.read(tokens, values, self.tokens - self.width, None)
        self.roots = tf.expand_dims(tf.math.rsqrt(tf.maximum(lengths, 1.0) * len(config.orders)), 1)
        mixed = text.mixed(values, self.rows, config.orders, axis=0)
        self.ids = tf.math.floormod(mixed, config.buckets)
        alone = 1 in config.orders
        first = mixed[config.orders.index(1)] if alone else text.mixed(values, self.rows, (1,), axis=0)[0]
        self.mixed, self.token_at = tf.unique(first, tf.int64)
        self.distinct = tf.size(self.mixed, tf.int64)
        # Rows are gathered first, which fetches them ahead: sums that read the table take twice as long.
        read, self.at, begin = [], [], tf.constant(0, tf.int64)
        for order, ids in zip(config.orders, tf.unstack(self.ids, len(config.orders)), strict=True):
            read.append(tf.math.floormod(self.mixed, config.buckets) if order == 1 else ids)
            end = begin + (self.distinct if order == 1 else self.tokens)
            self.at.append(self.token_at if order == 1 else tf.range(begin, end))
            begin = end
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


def _query_matches(texts: QueryTexts) -> list[tf.Tensor]:
    """Returns pools of each title's and of the query's matched n-grams, `[n, dim]`, and both shares, `[n, orders]`."""
    orders = texts.ids.shape[0]
    ngrams = texts.width * orders  # of the query, those of one order after those of another
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


def _query_soft(served: "ServedStudent", texts: QueryTexts) -> list[tf.Tensor]:
    """Returns log counts of kernels, summed and averaged over the query's tokens: `[n, kernels]` each."""
    assert served.soft
    near = served.near
    units = served.soft.vectors(tf.math.floormod(texts.mixed, served.config.soft_buckets))
    cosines = tf.matmul(units, tf.gather(units, texts.of_query(texts.token_at)), transpose_b=True)
    scaled = tf.matmul(tf.reshape(cosines, [-1, 1]), near.slopes[None])
    # Kernels of one token of the query stand next to those of another: rows are long, and so quick to subtract from.
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
