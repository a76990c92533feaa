"""Composed n-grams of single texts as they are served, with their convolutions and the early exit.

`composed` and `early_exit` have them as trained. Texts on which the exit is certain do not go through the convolutions; the
tokens of the others do, gathered.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.composed import convolution
from tfb2d.students.early_exit import margins
from tfb2d.students.model import Student
from tfb2d.students.served_tokens import Table, pools_of

FEW_TOKENS = 100  # a batch with fewer is read token by token


class ComposedTexts:
    """Computes the logits of a student whose n-grams are composed of their tokens' vectors, with its table as served.

    Its vocabulary and the kernels of its convolutions are shared: they are read as variables, because each signature would
    have a copy of constants. `weights` are the variables that the graph reads besides the table's.
    """

    def __init__(self, student: Student, table: Table) -> None:
        self.config, self.table = student.config, table
        self.vocabulary = student.ngrams.known
        self.kernels, self.narrow = student.pool.kernels, student.pool.narrow
        self.bias = student.pool.bias.numpy()
        shared = [self.vocabulary, self.narrow, *(kernel for kernels in self.kernels for kernel in kernels)]
        self.weights = [weight for weight in shared if weight is not None]
        self.cheap = [(dense.kernel.numpy(), -dense.bias.numpy()) for dense in student.cheap_denses]
        if student.exit:
            scale, bias, self.centre, self.threshold = student.exit.numbers()
            kernel, negated = self.cheap[-1]
            self.cheap[-1] = (kernel * scale, negated * scale - bias)

    def logits(self, texts: tf.Tensor, dense: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Computes logits `[n, n_logits]` of strings `[n]`; `dense` computes them of what the first dense layer reads."""
        tokens, indices, n = text.flat_tokens(texts, self.config.max_tokens)
        rows = indices[:, 0]
        ngrams = tf.nn.relu(self._composed(tokens, rows))
        pools = pools_of(ngrams, tf.range(tf.size(tokens))[:, None], rows, n)
        if not self.cheap:
            return dense(self._convolved(ngrams, rows, n, pools) if self.kernels else pools)
        (kernel, bias), *later = self.cheap
        hidden = tf.matmul(pools, kernel) - bias
        for kernel, bias in later:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) - bias
        logits, doubtful = hidden - self.centre, margins(hidden) < self.threshold

        def convolved() -> tf.Tensor:
            texts = tf.where(doubtful)
            kept = tf.where(tf.gather(doubtful, rows))[:, 0]
            number = tf.cumsum(tf.cast(doubtful, tf.int64)) - 1  # of a text among the doubtful ones
            their_rows = tf.gather(number, tf.gather(rows, kept))
            their_pools = tf.boolean_mask(pools, doubtful)
            read = self._convolved(tf.gather(ngrams, kept), their_rows, tf.shape(texts)[0], their_pools)
            return tf.tensor_scatter_nd_update(logits, texts, dense(read))

        return tf.cond(tf.reduce_any(doubtful), convolved, lambda: logits)

    def _composed(self, tokens: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Sums the vectors of each composed n-gram, and the bias: `[tokens, dim]`.

        A batch repeats most of its tokens. Each distinct one is hashed once, looked up once, and its rows are read once. An
        n-gram then reads rows that stay in the cache. A few tokens are read as they come, which takes fewer ops.
        """
        config = self.config
        shape = (config.window, config.buckets, config.affixes, self.vocabulary)
        ahead = config.window - 1

        def as_they_come() -> tf.Tensor:
            ids = text.composed_ids(text.hashes(tokens, config.affixes), rows, *shape)
            return tf.reduce_sum(self.table.vectors(ids), 1) + self.bias

        def distinct() -> tf.Tensor:
            known, at = tf.unique(tokens)
            ids = text.part_ids(text.hashes(known, config.affixes), *shape)
            others, own = tf.split(self.table.vectors(ids), [ahead, 1 + len(config.affixes)], 1)
            composed = tf.gather(tf.reduce_sum(own, 1) + self.bias, at + 1)
            if not ahead:
                return composed
            following = text.following(at + 1, rows, config.window) * ahead + np.arange(ahead, dtype=np.int32)
            return composed + tf.reduce_sum(tf.gather(tf.reshape(others, [-1, config.dim]), following), 1)

        return tf.cond(tf.size(tokens) < FEW_TOKENS, as_they_come, distinct)

    def _convolved(self, ngrams: tf.Tensor, rows: tf.Tensor, n: tf.Tensor, pools: tf.Tensor) -> tf.Tensor:
        """Sends composed n-grams `[tokens, dim]` through the convolutions of `ComposedPool` and pools them by text.

        Neighbours are gathered. One comparison gives the positions of all layers; beyond a text's ends is a row of
        zeros. Returns what the first dense layer reads: `[n, dim]` or, with an inner width, `pools` and the new ones
        side by side.
        """
        at = tf.range(tf.shape(ngrams)[0])[:, None]
        if self.narrow is not None:
            ngrams = tf.nn.relu(tf.matmul(ngrams, self.narrow))
        dilations, dim = self.config.convolutions, ngrams.shape[1]
        widest = max(dilations)
        offsets = np.array([[-dilation, 0, dilation] for dilation in dilations], np.int32).reshape(1, -1)
        texts = tf.pad(rows, [[widest, widest]], constant_values=-1)
        there = tf.equal(tf.gather(texts, at + (offsets + widest)), rows[:, None])
        positions = tf.split(tf.where(there, at + offsets, tf.shape(rows)), len(dilations), 1)
        for neighbours, kernels in zip(positions, self.kernels, strict=True):
            near = tf.gather(tf.pad(ngrams, [[0, 1], [0, 0]]), neighbours)
            ngrams += convolution(tf.reshape(near, [-1, 3 * dim]), kernels)
        convolved = pools_of(tf.nn.relu(ngrams) if self.config.convolution_width else ngrams, at, rows, n)
        return convolved if self.narrow is None else tf.concat([pools, convolved], 1)
