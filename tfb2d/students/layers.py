"""The student's layers between strings and pools: token hashes, n-gram vectors, dropout, the pool.

Token hashes travel as a ragged tensor `[batch, (tokens)]` int64; vectors lie one text after another, so that no padding
is embedded. Every layer has one attribute for each constructor argument, and a `get_config`.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.students import text, text_spec
from tfb2d.students.layout import RaggedTexts, Texts
from tfb2d.students.spelling import Dictionary
from tfb2d.students.spelling_graph import Spelling


@tf_keras.utils.register_keras_serializable("tfb2d")
class TokenHashes(tf_keras.layers.Layer):
    """Hashes the tokens of strings.

    Args:
      max_tokens: tokens kept of a text.
      affixes: bytes of the prefix and of the suffix that a hash also holds; () for none.
      known: of a query, hashes of the words that its misspelt ones are read as, most frequent first; () corrects none.

    Call arguments:
      texts: `[batch]` string.

    Returns:
      `[batch, (tokens)]` int64, ragged.

    Example:
      >>> TokenHashes(max_tokens=64)(tf.constant(["usb cable", ""])).row_lengths()  # [2, 0]

    Reference: docs/hash_spec.md.
    """

    def __init__(
        self, max_tokens: int, affixes: tuple[int, ...] = (), known: Sequence[int] = (), **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.max_tokens = max_tokens
        self.affixes = tuple(affixes)
        self.known = tuple(known)
        self._spelling = Spelling(Dictionary(np.array(known, np.int64))) if self.known else None

    def call(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Applies the layer; see the class."""
        return text.token_hashes(texts, self.max_tokens, self.affixes, self._spelling)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        names = ("max_tokens", "affixes", "known")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@dataclass
class ReplicaNoise:
    """Gives dropout its noise where several replicas train: each layer and call on each replica draws its own.

    A counter in the layer would be shared by the replicas, and which of them counts first is chance.
    """

    step: tf.Tensor  # of the training, int64
    replica: tf.Tensor  # this replica's number, int64
    calls: int = 0

    def seed(self, layer: int) -> tf.Tensor:
        """Returns the seed `[2]` int64 of a layer's next call; `layer` is its own seed."""
        self.calls += 1
        return tf.stack([self.step, layer + self.calls * 2**20 + self.replica * 2**40])


REPLICA: ContextVar[ReplicaNoise | None] = ContextVar("replica", default=None)  # None where one process trains alone


@tf_keras.utils.register_keras_serializable("tfb2d")
class SeededDropout(tf_keras.layers.Layer):
    """Drops inputs while training; the noise depends on a step counter alone, so a resumed run draws the same noise.

    Args:
      rate: share set to zero; the rest is scaled by `1 / (1 - rate)`.
      seed: makes this layer's noise another than that of other layers.
      per_row: drop whole vectors of the last axis (n-grams) instead of single numbers.

    Call arguments:
      inputs: floating point, of any shape.

    Returns:
      The same shape and dtype.

    Example:
      >>> SeededDropout(rate=0.1, seed=0)(tf.ones([2, 3]), training=True)

    Reference: Srivastava et al. 2014 (https://jmlr.org/papers/v15/srivastava14a.html).
    """

    def __init__(self, rate: float, seed: int, per_row: bool = False, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.per_row = per_row

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the counter, which is saved with the weights."""
        self.step = self.add_weight("step", (), tf.int64, initializer="zeros", trainable=False)
        super().build(shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the layer; see the class."""
        if not training or self.rate == 0:
            return inputs
        noise = None
        if self.per_row:
            noise = tf.concat([tf.shape(inputs)[:-1], [1]], 0)
        replica = REPLICA.get()
        if replica is not None:
            return tf.nn.experimental.stateless_dropout(inputs, self.rate, replica.seed(self.seed), noise_shape=noise)
        seed = tf.stack([self.step, tf.constant(self.seed, tf.int64)])
        dropped = tf.nn.experimental.stateless_dropout(inputs, self.rate, seed, noise_shape=noise)
        with tf.control_dependencies([dropped]):
            self.step.assign_add(1)
        return dropped

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed, "per_row": self.per_row}


@tf_keras.utils.register_keras_serializable("tfb2d")
class NGramEmbedding(tf_keras.layers.Layer):
    """Looks up vectors of a text's hashed n-grams: one row of the table for each token and order.

    With a `window`, n-grams are composed of their tokens' vectors (`tfb2d.students.composed`). A token then reads one row
    for each position in the window: its own, and those of the tokens that follow.

    A `vocabulary` gives its tokens rows that no other token shares. All other tokens share one, and `affixes` distinguish
    these: every token also reads a row for its first bytes and one for its last. A word that training never met has such
    rows too.

    Args:
      buckets: rows of the table.
      dim: its width.
      orders: n-gram orders, rising; unused with a window.
      window: tokens that a composed n-gram spans; 0 gives n-grams rows of their own.
      dropout: share of the rows left out while training.
      seed: of the start values and the dropout.
      affixes: with which hashes are made, as of TokenHashes; goes with a window.
      vocabulary: tokens that have rows of their own; 0 hashes all of them to rows. Goes with a window.

    Call arguments:
      hashes: ragged token hashes, `[batch, (tokens)]` int64.

    Returns:
      `[tokens of the whole batch, orders or window + affixes, dim]` float32.

    Example:
      >>> NGramEmbedding(buckets=2**18, dim=64, orders=(1, 2))(TokenHashes(64)(tf.constant(["usb cable"])))  # [2, 2, 64]

    Reference: hashed n-grams and affixes, a word's first and last bytes, as in Bojanowski et al. 2017 (arXiv 1607.04606).
    """

    def __init__(
        self,
        buckets: int,
        dim: int,
        orders: tuple[int, ...],
        window: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
        affixes: tuple[int, ...] = (),
        vocabulary: int = 0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.buckets = buckets
        self.dim = dim
        self.orders = tuple(orders)
        self.window = window
        self.dropout = dropout
        self.seed = seed
        self.affixes = tuple(affixes)
        self.vocabulary = vocabulary
        self.drop = SeededDropout(dropout, seed, per_row=True)

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the table, and an empty vocabulary."""
        self._build_vocabulary()
        spread = 1.0 / self.dim**0.5
        start = tf_keras.initializers.RandomUniform(-spread, spread, seed=self.seed)
        self.table = self.add_weight("table", (self.buckets, self.dim), initializer=start)
        super().build(shape)

    def call(self, hashes: tf.RaggedTensor, training: bool | None = None) -> tf.Tensor:
        """Applies the layer; see the class."""
        return self.drop(self.vectors(self.ids(hashes)), training=training)

    def vectors(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the table's rows, float32 `[..., dim]`, for int32 ids of any shape; forward passes call this."""
        if isinstance(self.table, tf.Variable):
            return tf.gather(self.table, ids)
        return tf.nn.embedding_lookup(self.table, ids)  # of several parameter servers

    def ids(self, hashes: tf.RaggedTensor) -> tf.Tensor:
        """Returns the table rows of ragged token hashes: `[tokens, orders or window + affixes]` int32."""
        if not self.window:
            return text.ngram_ids(hashes, self.orders, self.buckets)
        return text.composed_ids(
            hashes.values, hashes.value_rowids(), self.window, self.buckets, self.affixes, self.known
        )

    def rows_of(self, keys: np.ndarray) -> np.ndarray:
        """Returns the table rows, int32, of n-gram keys of any shape (`text_spec.ngram_keys`).

        With a window the keys are token hashes, and the rows those of an n-gram's first token.
        """
        if self.known is None:
            return text_spec.rows_of(keys, self.buckets)
        return text_spec.slots(keys.ravel(), self.known.numpy()).reshape(keys.shape) * np.int32(self.window)

    def _build_vocabulary(self) -> None:
        self.known = None
        if self.vocabulary:
            start = tf_keras.initializers.Constant(text_spec.UNUSED)
            self.known = self.add_weight("vocabulary", (self.vocabulary,), tf.int64, start, trainable=False)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        names = ("buckets", "dim", "orders", "window", "dropout", "seed", "affixes", "vocabulary")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def start_rows(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Turns word vectors `[n, width]` into table rows `[n, dim]` float32 by PCA; rows get the length of start values."""
    width = min(dim, *vectors.shape)
    centred = vectors.astype(np.float32) - vectors.mean(0, dtype=np.float32)
    _, axes = np.linalg.eigh(centred.T @ centred)
    reduced = np.zeros((len(vectors), dim), np.float32)
    reduced[:, :width] = centred @ axes[:, ::-1][:, :width]
    reduced /= np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-8)
    length = (1 / 3) ** 0.5  # of a row of `dim` numbers that are uniform in +-1/sqrt(dim)
    return reduced * length


@tf_keras.utils.register_keras_serializable("tfb2d")
class SqrtNPool(tf_keras.layers.Layer):
    """Sums a text's n-gram vectors over the root of their number; a text without tokens gives zeros.

    Call arguments:
      vectors: `[tokens of the whole batch, orders, dim]` float32.
      hashes: ragged token hashes, `[batch, (tokens)]` int64.

    Returns:
      `[batch, dim]` float32.

    Example:
      >>> SqrtNPool()(tf.random.normal([3, 2, 64]), tf.ragged.constant([[11, 12], [13]], dtype=tf.int64))  # [2, 64]

    Reference: BERT2DNN (arXiv 2010.10442), section 3.1.
    """

    def call(self, vectors: tf.Tensor, hashes: tf.RaggedTensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        return self.pool(vectors, RaggedTexts(hashes))

    def compose(self, vectors: tf.Tensor, texts: Texts) -> tf.Tensor:
        """Returns n-gram vectors `[tokens, orders, dim]` as they are: these n-grams have rows of their own."""
        return vectors

    def pool(self, ngrams: tf.Tensor, texts: Texts) -> tf.Tensor:
        """Pools n-gram vectors `[tokens, orders, dim]`: `[batch, dim]`."""
        return texts.pool(ngrams)
