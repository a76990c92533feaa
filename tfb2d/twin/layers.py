"""The towers' own layers (Keras 3 on TensorFlow): pooling, look-up tables of hashed ids, vectors of length 1.

Every layer has one attribute for each constructor argument, and a `get_config`.
"""

from typing import Any

import keras
import tensorflow as tf

PACKAGE = "tfb2d.twin"
TABLE = "table"  # name of the variables that hashed ids read
DIRECTION = 1e-6  # added to each number of a vector, so that zeros too have a direction


@keras.saving.register_keras_serializable(PACKAGE)
class UnitLength(keras.layers.Layer):
    """Scales vectors to length 1. Zeros become the vector of equal numbers: the length is always 1, never NaN.

    Call arguments:
      vectors: `[n, dim]` floating point.

    Returns:
      `[n, dim]` float32.

    Example:
      >>> UnitLength()(tf.constant([[3.0, 4.0], [0.0, 0.0]]))  # about [[0.6, 0.8], [0.71, 0.71]]
    """

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        moved = tf.cast(vectors, tf.float32) + DIRECTION
        return moved * tf.math.rsqrt(tf.reduce_sum(tf.square(moved), 1, keepdims=True))


@keras.saving.register_keras_serializable(PACKAGE)
class Pooling(keras.layers.Layer):
    """Makes one vector of a text's token vectors; padding does not count.

    Args:
      kind: "mean"; "cls", the first token's vector; or "weighted", the average whose weights are the softmax of a learnt
        linear score of each token.

    Call arguments:
      states: `[n, tokens, width]` floating point.
      mask: `[n, tokens]`, above 0 for tokens. A text without any gets zeros ("mean", "weighted").

    Returns:
      `[n, width]` float32.

    Example:
      >>> Pooling("mean")(tf.ones([1, 2, 4]), tf.constant([[1, 0]]))  # [[1, 1, 1, 1]]

    Reference: TwinBERT (arXiv 2002.06275), section 3.2.
    """

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in ("mean", "cls", "weighted"):
            raise ValueError(f"pooling {kind!r}; there are mean, cls and weighted")
        self.kind = kind

    def build(self, states_shape: Any, mask_shape: Any = None) -> None:
        """Makes the linear score of "weighted"."""
        if self.kind == "weighted":
            self.score = self.add_weight((states_shape[-1],), "zeros", name="score")
        super().build(states_shape)

    def call(self, states: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        states = tf.cast(states, tf.float32)
        if self.kind == "cls":
            return states[:, 0]
        real = tf.cast(mask > 0, tf.float32)
        if self.kind == "weighted":
            scores = tf.linalg.matvec(states, tf.convert_to_tensor(self.score))
            scores -= tf.reduce_max(tf.where(mask > 0, scores, scores.dtype.min), 1, keepdims=True)
            real *= tf.exp(tf.minimum(scores, 0.0))  # padding's scores may be above the largest
        weights = real / tf.maximum(tf.reduce_sum(real, 1, keepdims=True), 1e-30)
        return tf.reduce_sum(states * weights[:, :, None], 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind}


def _table(layer: keras.layers.Layer, rows: int, width: int, stddev: float) -> keras.Variable:
    """Makes a layer's table. Its name tells the trainer that it learns by sparse gradients, row by row."""
    start = keras.initializers.RandomNormal(stddev=stddev)
    # Cast to bfloat16 whole, it would cost the table's size a step, and its gradient would not be sparse.
    return layer.add_weight((rows, width), start, name=TABLE, dtype="float32", autocast=False)


@keras.saving.register_keras_serializable(PACKAGE)
class NGramPool(keras.layers.Layer):
    """Adds up the vectors of a text's n-grams and divides by the root of their number, as the DNN student's pool does.

    Args:
      buckets, width: of the table.

    Call arguments:
      ids: `[n, tokens, orders]` int32.
      lengths: `[n]` int32, tokens of each text; what follows them in `ids` is padding.

    Returns:
      `[n, width]` float32; zeros for a text without tokens.

    Example:
      >>> NGramPool(buckets=16, width=4)(tf.constant([[[3], [5]]]), tf.constant([2]))
    """

    def __init__(self, buckets: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buckets, self.width = buckets, width

    def build(self, ids_shape: Any, lengths_shape: Any = None) -> None:
        """Makes the table."""
        self.table = _table(self, self.buckets, self.width, 0.05)
        super().build(ids_shape)

    def call(self, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        real = tf.sequence_mask(lengths, tf.shape(ids)[1])
        flat = tf.boolean_mask(ids, real)  # [tokens, orders]
        rows = tf.where(real)[:, 0]
        return self.pool(flat, rows, tf.shape(ids)[0])

    def pool(self, ids: tf.Tensor, rows: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
        """Pools n-grams `[tokens, orders]` int32 of n texts without padding, as serving has them.

        `rows` `[tokens]` has the text of each token, rising.
        """
        orders = int(ids.shape[1])
        vectors = tf.gather(self.table.value, ids)
        sums = tf.math.unsorted_segment_sum(tf.reduce_sum(vectors, 1), rows, n)
        counts = tf.math.unsorted_segment_sum(tf.fill(tf.shape(rows), float(orders)), rows, n)
        return sums * tf.math.rsqrt(tf.maximum(counts, 1.0))[:, None]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "buckets": self.buckets, "width": self.width}


@keras.saving.register_keras_serializable(PACKAGE)
class TriLetterEmbedding(keras.layers.Layer):
    """Embeds words by the sum of their letters' vectors, plus a vector for the position, after a learnt start vector.

    The start stands for the text as a whole, as [CLS] does, and gives a text without words something to read.

    Args:
      buckets: rows of the table; id 0 is padding.
      width: of the vectors.
      max_words: words of the longest text.

    Call arguments:
      ids: `[n, words, letters]` int32 (`TriLetterInputs`).

    Returns:
      `[n, 1 + words, width]`: vectors, in the layer's compute dtype.

    Example:
      >>> TriLetterEmbedding(buckets=64, width=8, max_words=4)(tf.constant([[[3, 5], [7, 0]]]))

    Reference: TwinBERT (arXiv 2002.06275), section 3.1.
    """

    def __init__(self, buckets: int, width: int, max_words: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buckets, self.width, self.max_words = buckets, width, max_words

    def build(self, ids_shape: Any) -> None:
        """Makes the table of letters and the vectors of positions, the first of which is the start's."""
        self.table = _table(self, self.buckets, self.width, 0.02)
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight((1 + self.max_words, self.width), normal, name="positions", dtype="float32")
        super().build(ids_shape)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        at = tf.where(ids > 0)
        vectors = tf.gather(self.table.value, tf.gather_nd(ids, at))
        n, words = tf.shape(ids)[0], tf.shape(ids)[1]
        word_of = at[:, 0] * tf.cast(words, tf.int64) + at[:, 1]
        sums = tf.reshape(tf.math.unsorted_segment_sum(vectors, word_of, n * words), [n, words, self.width])
        start = tf.zeros([n, 1, self.width])
        positions = tf.convert_to_tensor(self.positions)[None, : 1 + words]
        return tf.cast(tf.concat([start, sums], 1) + tf.cast(positions, tf.float32), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "buckets": self.buckets, "width": self.width, "max_words": self.max_words}
