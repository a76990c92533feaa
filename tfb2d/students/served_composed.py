"""Composed n-grams of single texts as they are served, and their convolutions; `composed` has them as trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.composed import convolution
from tfb2d.students.served_table import pools_of

if TYPE_CHECKING:
    from tfb2d.students.served import ServedStudent

FEW_TOKENS = 100  # a batch with fewer is read token by token


def composed_ngrams(served: "ServedStudent", tokens: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Sums the vectors of each composed n-gram, and the bias: `[tokens, dim]`.

    A batch repeats most of its tokens. Each distinct one is hashed once, looked up once, and its rows are read once. An
    n-gram then reads rows that stay in the cache. A few tokens are read as they come, which takes fewer ops.
    """
    config = served.config
    shape = (config.window, config.buckets, config.affixes, served.vocabulary)
    ahead = config.window - 1

    def as_they_come() -> tf.Tensor:
        ids = text.composed_ids(text.hashes(tokens, config.affixes), rows, *shape)
        return tf.reduce_sum(served.table.vectors(ids), 1) + served.window_bias

    def distinct() -> tf.Tensor:
        known, at = tf.unique(tokens)
        ids = text.part_ids(text.hashes(known, config.affixes), *shape)
        others, own = tf.split(served.table.vectors(ids), [ahead, 1 + len(config.affixes)], 1)
        composed = tf.gather(tf.reduce_sum(own, 1) + served.window_bias, at + 1)
        if not ahead:
            return composed
        following = text.following(at + 1, rows, config.window) * ahead + np.arange(ahead, dtype=np.int32)
        return composed + tf.reduce_sum(tf.gather(tf.reshape(others, [-1, config.dim]), following), 1)

    return tf.cond(tf.size(tokens) < FEW_TOKENS, as_they_come, distinct)


def convolved_pools(served: "ServedStudent", composed: tf.Tensor, rows: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Sends composed n-grams `[tokens, dim]` through the convolutions and pools them by text: `[n, dim or inner]`."""
    at = tf.range(tf.shape(composed)[0])[:, None]
    if served.narrow is not None:
        composed = tf.nn.relu(tf.matmul(composed, served.narrow))
    convolved = _convolved(composed, at, rows, served.config.convolutions, served.convolutions)
    return pools_of(tf.nn.relu(convolved) if served.config.convolution_width else convolved, at, rows, n)


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
