"""Layers that compare query and title before the feed-forward network, so that a student can score unseen queries.

All of it is gathers, comparisons, one batched product and sums. A query's batch may be 1: it then goes with every title.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.config import StudentConfig
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.layout import RaggedTexts, Texts


@dataclass(frozen=True)
class Field:
    """Holds one field of a batch, as the layers below read it.

    Attributes:
      texts: the layout.
      ids: table rows of the n-grams, `[tokens, orders]` int32.
      ngrams: their vectors, `[tokens, orders, dim]` float32.
      weights: `[tokens, orders]` float32, how much each n-gram counts; None where all count 1. Explanations change it,
        and multiply the vectors by it as well.
    """

    texts: Texts
    ids: tf.Tensor
    ngrams: tf.Tensor
    weights: tf.Tensor | None = None


def pooled_features(config: StudentConfig, query: tf.Tensor, title: tf.Tensor) -> list[tf.Tensor]:
    """Lists the features of two pools `[batch, dim]`: the title's, their products, their differences."""
    features = [title]
    if config.products:
        features.append(query * title)
    if config.differences:
        features.append(tf.abs(query - title))
    return features


@tf_keras.utils.register_keras_serializable("tfb2d")
class MatchedPools(tf_keras.layers.Layer):
    """Pools the n-grams that the other side has separately from those that it lacks.

    Args:
      embedding: the layer whose rows are compared; two n-grams match when they fall into the same row.

    Call arguments:
      query_hashes, title_hashes: ragged token hashes, `[batch, (tokens)]` int64.
      query_vectors, title_vectors: their n-gram vectors, `[tokens, orders, dim]` float32.
      query_pool, title_pool: pools of all n-grams, `[batch, dim]` float32.

    Returns:
      `[batch, 3 * dim + 2 * orders]` float32: pools of the title's matched, the title's unmatched and the query's unmatched
      n-grams; then for the title and for the query the share of n-grams of each order that match.

    Example:
      >>> hashes = [tokens(tf.constant([text])) for text in ("usb cable", "usb c cable")]
      >>> vectors = [ngrams(field) for field in hashes]
      >>> MatchedPools(ngrams)(*hashes, *vectors, *map(SqrtNPool(), vectors, hashes))

    Reference: exact matching as a signal of its own, as in DRMM (Guo et al. 2016, arXiv 1711.08611).
    """

    def __init__(self, embedding: NGramEmbedding, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(
        self,
        query_hashes: tf.RaggedTensor,
        title_hashes: tf.RaggedTensor,
        query_vectors: tf.Tensor,
        title_vectors: tf.Tensor,
        query_pool: tf.Tensor,
        title_pool: tf.Tensor,
    ) -> tf.Tensor:
        """Applies the layer; see the class."""
        query, title = RaggedTexts(query_hashes), RaggedTexts(title_hashes)
        # Positions come last, which broadcasting compares fastest. Padding never matches: see `features`.
        query_ids, title_ids = (
            tf.transpose(texts.padded(self.embedding.ids(texts.hashes), fill), [0, 2, 1])
            for texts, fill in ((query, -1), (title, -2))
        )
        equal = tf.equal(tf.expand_dims(query_ids, 3), tf.expand_dims(title_ids, 2))
        out, shares = [], []
        for texts, vectors, axis in ((title, title_vectors, 2), (query, query_vectors, 3)):
            hits = tf.transpose(tf.cast(tf.reduce_any(equal, axis), tf.float32), [0, 2, 1])
            hits = texts.tokens(hits)  # [tokens, orders]
            out.append(texts.pool(vectors * tf.expand_dims(hits, -1)))
            shares.append(texts.sum(tf.expand_dims(hits, 1)) / tf.expand_dims(tf.maximum(texts.lengths, 1.0), 1))
        orders, dim = title_vectors.shape[-2:]
        matched, query_matched = out
        out = [matched, title_pool - matched, query_pool - query_matched, *shares]
        return tf.ensure_shape(tf.concat(out, -1), [None, 3 * dim + 2 * orders])

    def features(self, query: Field, title: Field, query_pool: tf.Tensor, title_pool: tf.Tensor) -> tf.Tensor:
        """Computes the layer's output from fields in either layout."""
        # Padding never matches: it has other ids on the query's side than on the title's.
        query_ids, title_ids = query.texts.padded(query.ids, -1), title.texts.padded(title.ids, -2)
        # [batch, query positions, title positions, orders]
        equal = tf.equal(tf.expand_dims(query_ids, 2), tf.expand_dims(title_ids, 1))
        in_title = tf.cast(tf.reduce_any(equal, 2), tf.float32)  # of the query's n-grams
        in_query = tf.cast(tf.reduce_any(equal, 1), tf.float32)  # of the title's
        matched = title.texts.pool(title.ngrams * tf.expand_dims(title.texts.tokens(in_query), -1))
        # The query's batch may be 1 where the titles' is not, so its matched n-grams are pooled in the padded layout.
        orders, dim = title.ngrams.shape[-2:]
        query_matched = tf.reduce_sum(query.texts.padded(query.ngrams) * tf.expand_dims(in_title, -1), [1, 2])
        query_matched *= tf.expand_dims(tf.math.rsqrt(tf.maximum(query.texts.lengths * float(orders), 1.0)), 1)
        shares = [_share(in_query, title), _share(in_title, query)]
        out = tf.concat([matched, title_pool - matched, query_pool - query_matched, *shares], -1)
        return tf.ensure_shape(out, [None, 3 * dim + 2 * orders])

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "embedding": tf_keras.saving.serialize_keras_object(self.embedding)}

    @classmethod
    def from_config(cls, config: dict) -> "MatchedPools":
        """Builds the layer from its `get_config`."""
        return cls(**{**config, "embedding": tf_keras.saving.deserialize_keras_object(config["embedding"])})


def _share(hits: tf.Tensor, field: Field) -> tf.Tensor:
    """Averages padded hits `[batch, positions, orders]` over each text's tokens: `[batch, orders]`."""
    if field.weights is not None:
        hits *= field.weights
    return tf.reduce_sum(hits, 1) / tf.expand_dims(tf.maximum(field.texts.lengths, 1.0), 1)


@dataclass(frozen=True)
class Kernels:
    """RBF kernels over cosines: one for exact matches at 1, the others spread evenly over [-1, 1].

    Attributes:
      number: how many.

    Reference: K-NRM (Xiong et al. 2017, arXiv 1706.06613), section 3.
    """

    number: int

    @property
    def centres(self) -> np.ndarray:
        """Returns the kernels' centres, `[number]` float32."""
        return np.array([1.0, *(1.0 - self._step * (k + 0.5) for k in range(self.number - 1))], np.float32)

    @property
    def slopes(self) -> np.ndarray:
        """Returns `1 / (sqrt(2) * width)` of each kernel, `[number]` float32."""
        widths = np.array([1e-3] + [self._step / 2] * (self.number - 1), np.float32)
        return np.float32(1 / math.sqrt(2)) / widths

    @property
    def _step(self) -> float:
        return 2.0 / max(self.number - 1, 1)

    def __call__(self, cosines: tf.Tensor) -> tf.Tensor:
        """Returns every kernel of every cosine: `[cosines, number]` float32, for cosines of any shape."""
        return tf.exp(-tf.square(self.distances(cosines)))

    def distances(self, cosines: tf.Tensor) -> tf.Tensor:
        """Returns how far cosines lie from each kernel's centre, `[cosines, number]` float32, in root-2 widths."""
        # A product by one column is faster than a difference that is broadcast over the last axis.
        return tf.matmul(tf.reshape(cosines, [-1, 1]), self.slopes[None]) - self.slopes * self.centres


LOG_SCALE = 0.1  # brings log counts that are summed over a query nearer to the other features


@tf_keras.utils.register_keras_serializable("tfb2d")
class KernelPooling(tf_keras.layers.Layer):
    """Counts, through RBF kernels, the title tokens at each degree of similarity to each query token.

    Args:
      kernels: their number; see Kernels.
      embedding: the layer's own table of tokens, in which nearness is learnt; its only order is 1.

    Call arguments:
      query_hashes, title_hashes: ragged token hashes, `[batch, (tokens)]` int64.

    Returns:
      `[batch, 2 * kernels]` float32: log counts summed over the query's tokens, and their mean over these.

    Example:
      >>> KernelPooling(11, NGramEmbedding(2**16, 64, (1,)))(*(tokens(tf.constant([text])) for text in ("usb", "usb c")))

    Reference: K-NRM (Xiong et al. 2017, arXiv 1706.06613), section 3.
    """

    def __init__(self, kernels: int, embedding: NGramEmbedding, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.kernels = kernels
        self.embedding = embedding
        self.near = Kernels(kernels)

    def call(self, query_hashes: tf.RaggedTensor, title_hashes: tf.RaggedTensor) -> tf.Tensor:
        """Applies the layer; see the class."""
        query, title = RaggedTexts(query_hashes), RaggedTexts(title_hashes)
        # Squeezed, not sliced: a slice's gradient writes zeros around it.
        units = [unit_rows(tf.squeeze(self.embedding(hashes), 1)) for hashes in (query_hashes, title_hashes)]
        cosines = tf.matmul(query.padded(units[0]), title.padded(units[1]), transpose_b=True)
        # Kernels of real token pairs alone: most pairs have padding on a side, and kernels take most of a training step.
        real = tf.expand_dims(query.mask(), 2) * tf.expand_dims(title.mask(), 1)
        pairs = tf.where(tf.reshape(real, [-1]) > 0)[:, 0]
        near = self.near(tf.gather(tf.reshape(cosines, [-1]), pairs))
        tokens = tf.shape(query.rows)[0]
        token_of = tf.repeat(tf.range(tokens), tf.gather(title_hashes.row_lengths(), query.rows))
        counts = tf.math.segment_sum(near, token_of)
        counts = tf.pad(counts, [[0, tokens - tf.shape(counts)[0]], [0, 0]])  # tokens without a title at the end
        return self._pooled(query, query.sum(tf.expand_dims(tf.math.log(1.0 + counts), 1)))

    def features(self, query: Texts, query_units: tf.Tensor, title_units: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Computes the layer's output.

        Args:
          query: where the query's texts end.
          query_units, title_units: padded vectors of tokens, `[batch, positions, dim]`, of length 1.
          weights: `[batch, 1 or query positions, title positions]` float32, how much each pair of tokens counts: 0 in the
            title's padding, 1 elsewhere, or what explanations make of it.
        """
        cosines = tf.matmul(query_units, title_units, transpose_b=True)  # [batch, query positions, title positions]
        near = tf.reshape(self.near(cosines), tf.concat([tf.shape(cosines), [self.kernels]], 0))
        counts = tf.reduce_sum(near * tf.expand_dims(weights, -1), 2)
        # log(1 + x) keeps a token without any near title token at 0; the paper's log of a floor would swamp the sum.
        # It is not written as log1p, which TensorFlow Lite lacks.
        return self._pooled(query, tf.reduce_sum(tf.math.log(1.0 + counts) * tf.expand_dims(query.mask(), -1), 1))

    def _pooled(self, query: Texts, logs: tf.Tensor) -> tf.Tensor:
        """Returns the features of log counts that are summed over each query's tokens, `[batch, kernels]`."""
        logs /= math.log(2)
        mean = logs / tf.expand_dims(tf.maximum(query.lengths, 1.0), 1)
        return tf.ensure_shape(tf.concat([LOG_SCALE * logs, mean], -1), [None, 2 * self.kernels])

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        embedding = tf_keras.saving.serialize_keras_object(self.embedding)
        return {**super().get_config(), "kernels": self.kernels, "embedding": embedding}

    @classmethod
    def from_config(cls, config: dict) -> "KernelPooling":
        """Builds the layer from its `get_config`."""
        return cls(**{**config, "embedding": tf_keras.saving.deserialize_keras_object(config["embedding"])})


def unit_rows(vectors: tf.Tensor) -> tf.Tensor:
    """Brings vectors `[..., dim]` to length 1; vectors of zeros stay zeros."""
    return tf.math.l2_normalize(vectors, -1, 1e-8)
