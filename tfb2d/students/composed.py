"""N-grams composed of their tokens' vectors, convolutions over them, and their pool."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.students.layers import segment_sqrtn


@tf_keras.utils.register_keras_serializable("tfb2d")
class ComposedPool(tf_keras.layers.Layer):
    """Pools n-grams that are composed of their tokens' vectors: the sum of `ReLU(sum of vectors + bias)` over positions.

    A token has a row of the table for each offset in the window, so "not" two places before "good" adds up to a vector of
    its own, also where no training text had the two together. An n-gram with a row of its own must have been seen. The sum
    over positions is divided by the root of their number; a text without tokens gives zeros.

    Convolutions let composed n-grams change one another before they are pooled: each adds to every position the ReLU of a
    product of the vectors there and a few places before and behind. With a width the ReLU is so wide, and a second product
    of it is added, which may take away as well; the pool is then of the sums' ReLU. They have no bias, so that nothing
    comes of nothing.

    Args:
      convolutions: of each, in order, how many places off its neighbours stand.
      width: of their ReLU; 0 is that of the vectors, without a second product.
      seed: of the start values.

    Call arguments:
      vectors: `[tokens of the whole batch, window, dim]` float32.
      hashes: the ragged token hashes that the vectors belong to.

    Returns:
      `[batch, dim]` float32.

    References: the convolution over word vectors of Kim 2014 (arXiv 1408.5882), its filters multiplied into the table;
    the stacked dilated convolutions of Strubell et al. 2017 (arXiv 1702.02098); residual as in He et al. 2016.
    """

    def __init__(self, convolutions: tuple[int, ...] = (), width: int = 0, seed: int = 0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.convolutions = tuple(convolutions)
        self.width = width
        self.seed = seed

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the bias and the kernels, of each convolution `[3 * dim, width]`, of the place before, the place itself and
        the one behind, and `[width, dim]`; or `[3 * dim, dim]` alone.
        """
        dim = shape[-1]
        self.bias = self.add_weight("bias", (dim,), initializer="zeros")
        shapes = [(3 * dim, self.width), (self.width, dim)] if self.width else [(3 * dim, dim)]
        numbers = itertools.count()

        def kernel(shape: tuple[int, int]) -> tf.Variable:
            number = next(numbers)
            start = tf_keras.initializers.GlorotUniform(self.seed + number)
            return self.add_weight(f"kernel_{number}", shape, initializer=start)

        self.kernels = [[kernel(one) for one in shapes] for _ in self.convolutions]
        super().build(shape)

    def call(self, vectors: tf.Tensor, hashes: tf.RaggedTensor) -> tf.Tensor:
        """See the class."""
        return self.pool(tf.nn.relu(tf.reduce_sum(vectors, axis=1) + self.bias), hashes)

    def pool(self, composed: tf.Tensor, hashes: tf.RaggedTensor) -> tf.Tensor:
        """What comes of composed n-grams `[tokens, dim]`: `[batch, dim]`."""
        for dilation, kernels in zip(self.convolutions, self.kernels, strict=True):
            composed += convolution(neighbours(composed, hashes.value_rowids(), dilation), kernels)
        if self.width:
            composed = tf.nn.relu(composed)
        return segment_sqrtn(composed, hashes, 1)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "convolutions": self.convolutions, "width": self.width, "seed": self.seed}


def convolution(near: tf.Tensor, kernels: Sequence[tf.Variable | np.ndarray]) -> tf.Tensor:
    """What a convolution adds: `[tokens, dim]`, of its neighbours `[tokens, 3 * dim]` and its one or two kernels."""
    first, *rest = kernels
    hidden = tf.nn.relu(tf.matmul(near, first))
    return tf.matmul(hidden, rest[0]) if rest else hidden


def neighbours(vectors: tf.Tensor, rows: tf.Tensor, dilation: int) -> tf.Tensor:
    """The vectors `dilation` places before, at and behind each place, side by side; zeros beyond a text's ends.

    Args:
      vectors: `[tokens, dim]`, of texts one after another.
      rows: `[tokens]`, the text of each.
      dilation: 1 or more.

    Returns:
      `[tokens, 3 * dim]`.
    """
    n, around = tf.shape(vectors)[0], [[dilation, dilation], [0, 0]]
    padded, texts = tf.pad(vectors, around), tf.pad(rows, around[:1], constant_values=-1)

    def moved(start: int) -> tf.Tensor:
        inside = tf.equal(texts[start : start + n], rows)
        return padded[start : start + n] * tf.cast(inside, vectors.dtype)[:, None]

    return tf.concat([moved(0), vectors, moved(2 * dilation)], 1)
