"""The student as it is served: the same logits as `Student.trunk`, from far fewer and larger ops.

Training needs gradients, dropout and cached hashes. Serving must be fast, and at batch 1 the number of ops decides. So the
student's arithmetic is written a second time here, from the weights of a trained student. Tests compare it with the trunk.
It differs in these ways:

* query and titles are hashed as one batch of texts;
* their n-grams are pooled by one `SparseSegmentSqrtN`, which reads table rows without gathering them first;
* features that are sums of others are multiplied out of the first dense layer's weights: the pool of unmatched n-grams is
  the pool of all less the matched, and so is the query's;
* rows of the soft-match table have length 1 already;
* texts on which an early exit is certain do not go through the convolutions; the tokens of the others do, gathered;
* the rows of composed n-grams are read once for each distinct token of a batch;
* one query with its titles (a ranking, or a single pair) has a graph of its own (`served_query`). Nothing is padded there,
  the query's tokens are compared with all title tokens at once, and rows are gathered before they are pooled;
* biases are subtracted, negated: a bias that is added becomes part of oneDNN's matmul, which takes twice as long for one
  row.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.composed import convolution
from tfb2d.students.early_exit import margins
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.model import Student
from tfb2d.students.packed import PackedNGramEmbedding
from tfb2d.students.pairs import LOG_SCALE, Kernels, pooled_features
from tfb2d.students.served_query import bells, pools_of, query_features

FEW_TOKENS = 100  # a batch with fewer is read token by token


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


class ServedStudent(tf.Module):
    """Computes a student's logits from strings; see the module.

    Args:
      student: a trained one. Its tables and the kernels of its convolutions are shared, its dense layers are copied into
        constants.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.task, self.config = student.task, student.config
        self.table = Table(student.ngrams)
        # These two are read as variables. As constants each signature would have a copy.
        self.vocabulary = student.ngrams.known
        self.convolutions = student.pool.kernels if self.config.window else []
        self.narrow = student.pool.narrow if self.config.window else None
        self.window_bias = student.pool.bias.numpy() if self.config.window else None
        self.soft = Table(student.kernels.embedding, unit=True) if student.kernels else None
        self.pair = student.query_dense is not None
        self.matched = student.matched is not None
        self.layers = [(dense.kernel.numpy(), -dense.bias.numpy()) for dense in student.denses]
        self.bias = -student.first_dense.bias.numpy()
        self.cheap_layers = [(dense.kernel.numpy(), -dense.bias.numpy()) for dense in student.cheap_denses]
        self.exit_numbers = student.exit.numbers() if student.exit else ()
        if self.exit_numbers:
            scale, bias, *_ = self.exit_numbers
            kernel, negated = self.cheap_layers[-1]
            self.cheap_layers[-1] = (kernel * scale, negated * scale - bias)
        self._fold(student)
        if self.soft:
            self.near = Kernels(self.config.kernels)
        if student.query_dense is not None:
            # A function, and outside of the branches: a saved model holds its weights once, not in every branch of every
            # signature. It is inlined where it is called.
            shapes = [tf.TensorSpec([None, kernel.shape[0]]) for kernel in (student.query_dense.kernel, self.kernel)]
            self.dense = tf.function(self._dense, input_signature=shapes, autograph=False)

    @property
    def tables(self) -> list[tf.Variable]:
        """Lists all variables that the served graph reads."""
        known = [] if self.vocabulary is None else [self.vocabulary]
        kernels = [kernel for kernels in self.convolutions for kernel in kernels]
        narrow = [] if self.narrow is None else [self.narrow]
        return [*self.table.weights, *(self.soft.weights if self.soft else []), *known, *narrow, *kernels]

    def logits(self, texts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Computes logits `[batch, n_logits]` float32 of texts: one `[batch]` string tensor a field."""
        if not self.pair:
            tokens = self.tokens(texts[0])
            return self._cheap_first(tokens) if self.cheap_layers else self._logits_of_pools(tokens.pools)
        one_title = tf.equal(tf.size(texts[1]), 1)
        return self.dense(
            *tf.cond(one_title, lambda: query_features(self, *texts), lambda: self._pair_features(*texts))
        )

    def rank(self, query: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """Computes logits of queries `[batch]` and titles `[batch, n]`; each query is read once.

        Returns:
          `[batch * n, n_logits]`, a query's titles behind those of the one before.
        """
        flat = tf.reshape(titles, [-1])

        def several() -> tuple[tf.Tensor, tf.Tensor]:
            # Not a loop over the queries: a graph with one is not run in the caller's thread (`serving.server.session`).
            return self._pair_features(query, flat, tf.repeat(tf.range(tf.size(query)), tf.shape(titles)[1]))

        one_query = tf.equal(tf.size(query), 1)
        return self.dense(*tf.cond(one_query, lambda: query_features(self, query, flat), several))

    def tokens(self, texts: tf.Tensor) -> "Tokens":
        """Reads texts, strings `[n]`."""
        return Tokens(self, texts)

    def _dense(self, query_pool: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        hidden = tf.matmul(features, self.kernel) - (self.bias - tf.matmul(query_pool, self.query_kernel))
        return self._later_layers(hidden)

    def _logits_of_pools(self, pools: tf.Tensor) -> tf.Tensor:
        return self._later_layers(tf.matmul(pools, self.kernel) - self.bias)

    def _cheap_first(self, tokens: "Tokens") -> tf.Tensor:
        """Computes the logits of texts `[n, n_logits]`; only those that do not exit early go through the convolutions."""
        (kernel, bias), *later = self.cheap_layers
        hidden = tf.matmul(tokens.pools, kernel) - bias
        for kernel, bias in later:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) - bias
        # The last layer's weights already hold the scale and bias that `EarlyExit` applies.
        _, _, centre, threshold = self.exit_numbers
        logits, doubtful = hidden - centre, margins(hidden) < threshold

        def convolved() -> tf.Tensor:
            texts = tf.where(doubtful)
            kept = tf.where(tf.gather(doubtful, tokens.rows))[:, 0]
            number = tf.cumsum(tf.cast(doubtful, tf.int64)) - 1  # of a text among the doubtful ones
            rows = tf.gather(number, tf.gather(tokens.rows, kept))
            pools = _convolved_pools(self, tf.gather(tokens.composed, kept), rows, tf.shape(texts)[0])
            if self.narrow is not None:
                pools = tf.concat([tf.boolean_mask(tokens.pools, doubtful), pools], 1)
            return tf.tensor_scatter_nd_update(logits, texts, self._logits_of_pools(pools))

        return tf.cond(tf.reduce_any(doubtful), convolved, lambda: logits)

    def _later_layers(self, hidden: tf.Tensor) -> tf.Tensor:
        for kernel, bias in self.layers:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) - bias
        return hidden

    def _pair_features(
        self, query: tf.Tensor, title: tf.Tensor, owners: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes what the dense layers read, for pairs; `owners[i]` is the index of title i's query, by default i.

        Returns:
          The queries' pools `[batch, dim]`, and features `[batch, features]`.
        """
        batch = tf.size(title)
        tokens = self.tokens(tf.concat([query, title], 0))
        if owners is not None:
            tokens.repeat_queries(tf.size(query), owners)
        lengths = tf.raw_ops.DenseBincount(input=tokens.rows, size=tokens.n, weights=tf.zeros([0]), binary_output=False)
        query_lengths, title_lengths = tf.split(lengths, 2)
        sizes = tf.stack([tf.cast(tf.reduce_sum(query_lengths), tf.int32), -1])
        query_length, title_length = (tf.maximum(n, 1.0)[:, None] for n in (query_lengths, title_lengths))
        query_pool, title_pool = tf.split(tokens.pools, 2)
        features = pooled_features(self.config, query_pool, title_pool)
        if self.matched:
            features += self._matches(tokens, sizes, batch, query_length, title_length)
        if self.soft:
            logs = self._soft(tokens, query_lengths, title_lengths)
            features += [logs, logs / query_length]
        return query_pool, tf.concat(features, 1) if len(features) > 1 else features[0]

    def _matches(
        self, tokens: "Tokens", sizes: tf.Tensor, batch: tf.Tensor, query_length: tf.Tensor, title_length: tf.Tensor
    ) -> list[tf.Tensor]:
        orders = len(self.config.orders)
        # A key stands for an n-gram of one pair. The query's keys are sorted, and the title's keys are looked up in them.
        (query_rows, title_rows), (query_keys, title_keys) = (
            tf.split(values, sizes, num=2) for values in (tokens.rows, tokens.keys)
        )
        title_rows -= tf.cast(batch, tf.int64)
        span = self.config.buckets * orders

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

    def _soft(self, tokens: "Tokens", query_lengths: tf.Tensor, title_lengths: tf.Tensor) -> tf.Tensor:
        # Texts are padded for the product alone. Kernels are computed for pairs of real tokens.
        lengths = tf.stack([query_lengths, title_lengths])
        longest = tf.cast(tf.maximum(tf.reduce_max(lengths, 1), 0.0), tf.int64)
        assert self.soft
        data, at = self.soft.read(tokens.soft_ids)
        at = tf.scatter_nd(tokens.indices, at, tf.stack([tokens.n, tf.reduce_max(longest)]))
        query_vectors, title_vectors = (
            tf.gather(data, padded[:, : longest[side]]) for side, padded in enumerate(tf.split(at, 2))
        )
        cosine = tf.matmul(query_vectors, title_vectors, transpose_b=True)
        there = tf.logical_and(tf.sequence_mask(query_lengths)[:, :, None], tf.sequence_mask(title_lengths)[:, None])
        shape = tf.shape(cosine)
        at = tf.where(tf.reshape(there, [-1]))[:, 0]
        near = bells(self.near.distances(tf.gather(tf.reshape(cosine, [-1]), at)))
        counts = tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=near,
            indices=tf.range(tf.size(at)),
            segment_ids=tf.cast(at, tf.int32) // shape[2],
            num_segments=shape[0] * shape[1],
        )
        logs = tf.math.log1p(tf.reshape(counts, tf.stack([shape[0], shape[1], self.config.kernels])))
        return tf.reduce_sum(logs, 1)

    def _fold(self, student: Student) -> None:
        """Computes the first dense layer's weights for the features that the served graph makes."""
        dim, orders, kernels = self.config.dim, len(self.config.orders), self.config.kernels
        rows = student.first_dense.kernel.numpy()
        if not self.pair:
            self.kernel = rows
            return
        used = dim * (1 + (self.pair and self.config.products) + (self.pair and self.config.differences))
        plain, compared = rows[:used].copy(), rows[used:]
        self.query_kernel = student.query_dense.kernel.numpy() if student.query_dense else None
        folded = [plain]
        if self.matched:
            matched, unmatched, missing, shares, compared = np.split(compared, np.cumsum([dim, dim, dim, 2 * orders]))
            plain[:dim] += unmatched  # unmatched = title - matched
            self.query_kernel = self.query_kernel + missing  # missing = query - its matched
            folded += [matched - unmatched, -missing, shares * orders]  # served as shares of n-grams of all orders
        if self.soft:
            folded += [compared[:kernels] * (LOG_SCALE / math.log(2)), compared[kernels:] / math.log(2)]
        self.kernel = np.concatenate(folded)


def scores_and_logits(logits: tf.Tensor, scale: float, bias: Sequence[float]) -> dict[str, tf.Tensor]:
    """Calibrates logits `[batch, k]`: `sigmoid(scale * logit + bias)`, or softmax over k > 1 classes.

    Args:
      logits: of a student.
      scale, bias: the calibration; `bias` has one number a logit.

    Returns:
      `score` and `logit` as they are served: `[batch]` of one logit a row, else `[batch, k]`.
    """
    calibrated = scale * logits + np.asarray(bias, np.float32)
    if len(bias) > 1:
        return {"score": tf.nn.softmax(calibrated), "logit": logits}
    return {"score": tf.squeeze(tf.sigmoid(calibrated), -1), "logit": tf.squeeze(logits, -1)}


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

    def __init__(self, student: ServedStudent, texts: tf.Tensor) -> None:
        config = student.config
        if config.window:
            tokens, self.indices, self.n = text.flat_tokens(texts, config.max_tokens)
            self.rows = self.indices[:, 0]
            self.composed = tf.nn.relu(_composed(student, tokens, self.rows))
            full = config.convolutions and not student.cheap_layers
            before = not full or student.narrow is not None
            pools = [pools_of(self.composed, tf.range(tf.size(tokens))[:, None], self.rows, self.n)] if before else []
            if full:
                pools.append(_convolved_pools(student, self.composed, self.rows, self.n))
            self.pools = tf.concat(pools, 1) if len(pools) > 1 else pools[0]
            return  # composed n-grams are for single texts, which need no more
        values, self.indices, self.n = text.flat_hashes(texts, config.max_tokens, config.affixes)
        self.rows = self.indices[:, 0]
        mixed = text.mixed(values, self.rows, config.orders)
        self.ids = tf.math.floormod(mixed, config.buckets)
        self.data, self.at = student.table.read(self.ids)
        self.pools = pools_of(self.data, self.at, self.rows, self.n)
        if student.matched:
            orders = len(config.orders)
            kind = np.int32 if config.buckets * orders < 2**31 else np.int64
            self.keys = tf.cast(self.ids, kind) + np.arange(orders, dtype=kind) * config.buckets
        if student.soft:
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


def _composed(student: ServedStudent, tokens: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Sums the vectors of each composed n-gram, and the bias: `[tokens, dim]`.

    A batch repeats most of its tokens. Each distinct one is hashed once, looked up once, and its rows are read once. An
    n-gram then reads rows that stay in the cache. A few tokens are read as they come, which takes fewer ops.
    """
    config = student.config
    shape = (config.window, config.buckets, config.affixes, student.vocabulary)
    ahead = config.window - 1

    def as_they_come() -> tf.Tensor:
        ids = text.composed_ids(text.hashes(tokens, config.affixes), rows, *shape)
        return tf.reduce_sum(student.table.vectors(ids), 1) + student.window_bias

    def distinct() -> tf.Tensor:
        known, at = tf.unique(tokens)
        ids = text.part_ids(text.hashes(known, config.affixes), *shape)
        others, own = tf.split(student.table.vectors(ids), [ahead, 1 + len(config.affixes)], 1)
        composed = tf.gather(tf.reduce_sum(own, 1) + student.window_bias, at + 1)
        if not ahead:
            return composed
        following = text.following(at + 1, rows, config.window) * ahead + np.arange(ahead, dtype=np.int32)
        return composed + tf.reduce_sum(tf.gather(tf.reshape(others, [-1, config.dim]), following), 1)

    return tf.cond(tf.size(tokens) < FEW_TOKENS, as_they_come, distinct)


def _convolved_pools(student: ServedStudent, composed: tf.Tensor, rows: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Sends composed n-grams `[tokens, dim]` through the convolutions and pools them by text: `[n, dim or inner]`."""
    at = tf.range(tf.shape(composed)[0])[:, None]
    if student.narrow is not None:
        composed = tf.nn.relu(tf.matmul(composed, student.narrow))
    convolved = _convolved(composed, at, rows, student.config.convolutions, student.convolutions)
    return pools_of(tf.nn.relu(convolved) if student.config.convolution_width else convolved, at, rows, n)


def _convolved(
    composed: tf.Tensor, at: tf.Tensor, rows: tf.Tensor, dilations: Sequence[int], kernels: Sequence[list[tf.Variable]]
) -> tf.Tensor:
    """Applies the convolutions of `ComposedPool`: `[tokens, dim]`; `at` `[tokens, 1]` has the tokens' indices.

    Neighbours are gathered. One comparison gives the positions of all layers; beyond a text's ends is a row of zeros.
    """
    widest, dim = max(dilations), composed.shape[1]
    offsets = np.array([[-dilation, 0, dilation] for dilation in dilations], np.int32).reshape(1, -1)
    texts = tf.pad(rows, [[widest, widest]], constant_values=-1)
    there = tf.equal(tf.gather(texts, at + (offsets + widest)), rows[:, None])
    positions = tf.split(tf.where(there, at + offsets, tf.shape(rows)), len(dilations), 1)
    for neighbours, layer_kernels in zip(positions, kernels, strict=True):
        near = tf.gather(tf.pad(composed, [[0, 1], [0, 0]]), neighbours)
        composed += convolution(tf.reshape(near, [-1, 3 * dim]), layer_kernels)
    return composed


def _over_root(squares: np.ndarray) -> np.ndarray:
    """Returns the factors by which `l2_normalize` multiplies rows of these squared lengths."""
    return (1 / np.sqrt(np.maximum(squares, 1e-8))).astype(np.float32)
