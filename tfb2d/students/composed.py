"""N-grams composed of their tokens' vectors, convolutions over them, and their pool."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.students.layout import RaggedTexts, Texts


@tf_keras.utils.register_keras_serializable("tfb2d")
class ComposedPool(tf_keras.layers.Layer):
    """Composes n-grams of their tokens' vectors and pools them.

    The n-gram at a position is `ReLU(sum of vectors + bias)`. A token has one row of the table for each offset in the
    window. The rows of "not" at offset 0 and "good" at offset 2 thus make up an n-gram that training need not have seen.

    Convolutions let composed n-grams change one another before they are pooled. Each adds to every position the ReLU of a
    product of three vectors: the position's own and those `dilation` tokens before and after it. With a `width` the ReLU
    is that wide, and a second product brings it back to `dim`; the pool is then of the ReLU of the sums. There is no bias,
    so positions without tokens stay zero.

    Args:
      convolutions: the dilation of each convolution, in order.
      width: of the convolutions' ReLU; 0 makes it `dim` wide, without a second product.
      both: also pool the n-grams before the convolutions.
      inner: the width at which convolutions run: a product with a ReLU brings the n-grams to it. 0 keeps `dim`.
      seed: of the start values.

    Call arguments:
      vectors: `[tokens of the whole batch, window, dim]` float32.
      hashes: ragged token hashes, `[batch, (tokens)]` int64.

    Returns:
      `[batch, dim]` float32: the sum over positions over the root of their number; zeros for a text without tokens.
      With `both` `[batch, dim + inner or dim]`: the pool before the convolutions, then the one after them.

    Example:
      >>> pool = ComposedPool(convolutions=(1, 2))
      >>> pool(tf.random.normal([3, 2, 64]), tf.ragged.constant([[11, 12], [13]], dtype=tf.int64))  # [2, 64]

    Reference: the convolution over word vectors of Kim 2014 (arXiv 1408.5882), its filters multiplied into the table;
    stacked dilated convolutions of Strubell et al. 2017 (arXiv 1702.02098); residual as in He et al. 2016.
    """

    def __init__(
        self,
        convolutions: tuple[int, ...] = (),
        width: int = 0,
        seed: int = 0,
        both: bool = False,
        inner: int = 0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.convolutions = tuple(convolutions)
        self.width = width
        self.both = both
        self.inner = inner
        self.seed = seed

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the bias `[dim]` and the kernels: `[3 * dim, width]` and `[width, dim]` each, or `[3 * dim, dim]`.

        With an inner width this takes the place of `dim` in the kernels, and there is one more, `[dim, inner]`.
        """
        dim = shape[-1]
        self.bias = self.add_weight("bias", (dim,), initializer="zeros")
        start = tf_keras.initializers.GlorotUniform(self.seed + 50)
        self.narrow = self.add_weight("narrow", (dim, self.inner), initializer=start) if self.inner else None
        dim = self.inner or dim
        shapes = [(3 * dim, self.width), (self.width, dim)] if self.width else [(3 * dim, dim)]
        self.kernels = []
        for first in range(0, len(shapes) * len(self.convolutions), len(shapes)):
            self.kernels.append([self._kernel(first + index, kernel) for index, kernel in enumerate(shapes)])
        super().build(shape)

    def _kernel(self, number: int, shape: tuple[int, int]) -> tf.Variable:
        start = tf_keras.initializers.GlorotUniform(self.seed + number)
        return self.add_weight(f"kernel_{number}", shape, initializer=start)

    def call(self, vectors: tf.Tensor, hashes: tf.RaggedTensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        texts = RaggedTexts(hashes)
        return self.pool(self.compose(vectors, texts), texts)

    def compose(self, vectors: tf.Tensor, texts: Texts) -> tf.Tensor:
        """Composes `[tokens, window, dim]` vectors to n-grams, one a token: `[tokens, 1, dim]`."""
        ngrams = tf.nn.relu(tf.reduce_sum(vectors, -2) + self.bias)
        return tf.expand_dims(texts.only_tokens(ngrams), -2)

    def pool(self, ngrams: tf.Tensor, texts: Texts) -> tf.Tensor:
        """Pools composed n-grams `[tokens, 1, dim]` after the convolutions, and before them too where the layer does."""
        vectors = tf.squeeze(ngrams, -2)
        if self.narrow is not None:
            vectors = tf.nn.relu(product(vectors, self.narrow))
        for dilation, kernels in zip(self.convolutions, self.kernels, strict=True):
            vectors += texts.only_tokens(convolution(texts.neighbours(vectors, dilation), kernels))
        if self.width:
            vectors = tf.nn.relu(vectors)
        pooled = texts.pool(tf.expand_dims(vectors, -2))
        return tf.concat([texts.pool(ngrams), pooled], -1) if self.both else pooled

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        names = ("convolutions", "width", "seed", "both", "inner")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def convolution(neighbours: tf.Tensor, kernels: Sequence[tf.Variable | np.ndarray]) -> tf.Tensor:
    """Multiplies neighbours `[tokens, 3 * dim]` by a convolution's kernels: what it adds to each token, `[tokens, dim]`."""
    first, *second = kernels
    added = tf.nn.relu(product(neighbours, first))
    return product(added, second[0]) if second else added


def product(vectors: tf.Tensor, kernel: tf.Variable | np.ndarray) -> tf.Tensor:
    """Multiplies vectors `[..., width]` by a kernel `[width, columns]`, as one flat product."""
    if vectors.shape.rank == 2:
        return tf.matmul(vectors, kernel)
    flat = tf.matmul(tf.reshape(vectors, [-1, kernel.shape[0]]), kernel)
    return tf.reshape(flat, tf.concat([tf.shape(vectors)[:-1], [kernel.shape[1]]], 0))
