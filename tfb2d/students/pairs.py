"""Where query and title meet before the feed-forward network: what lets a student judge queries that it never saw.

The features are computed for titles that each belong to a query (`owner`), so that a query with a hundred titles is
hashed and embedded once; for plain pairs the owner of title i is query i. All of it is gathers, comparisons, one batched
product and sums.
"""

import math

import tensorflow as tf
import tf_keras

from tfb2d.students.layers import NGramEmbedding, segment_sqrtn


@tf_keras.utils.register_keras_serializable("tfb2d")
class MatchedPools(tf_keras.layers.Layer):
    """Separate pools of the n-grams that the other side has, and of those that it lacks.

    Args:
      embedding: the layer whose table rows are compared; two n-grams match when they fall into the same row.

    Call arguments:
      query_hashes, title_hashes: ragged token hashes of Q queries and T titles.
      query_vectors, title_vectors: their n-gram vectors, `[tokens, orders, dim]`.
      owner: `[T]` int, the query of each title.

    Returns:
      `[T, 3 * dim + 2 * orders]`: pools of the title's matched, the title's unmatched and the query's unmatched n-grams,
      and for either side and each order the share of n-grams that match.
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
        owner: tf.Tensor,
    ) -> tf.Tensor:
        """See the class."""
        orders, dim = title_vectors.shape[1], title_vectors.shape[2]
        # Padding never matches: -1 on the query's side, -2 on the title's.
        query_ids = query_hashes.with_values(self.embedding.ids(query_hashes)).to_tensor(-1)
        query_ids = tf.gather(query_ids, owner)
        title_ids = title_hashes.with_values(self.embedding.ids(title_hashes)).to_tensor(-2)
        equal = tf.equal(query_ids[:, :, None], title_ids[:, None])  # [T, query tokens, title tokens, orders]
        in_query = tf.cast(tf.reduce_any(equal, 1), title_vectors.dtype)
        in_title = tf.cast(tf.reduce_any(equal, 2), title_vectors.dtype)

        flat = tf.where(tf.sequence_mask(title_hashes.row_lengths()))
        hit = tf.gather_nd(in_query, flat)[:, :, None]
        matched = segment_sqrtn(tf.reduce_sum(title_vectors * hit, 1), title_hashes, orders)
        unmatched = segment_sqrtn(tf.reduce_sum(title_vectors * (1 - hit), 1), title_hashes, orders)

        padded = tf.gather(query_hashes.with_values(query_vectors).to_tensor(), owner)
        lengths = tf.gather(query_hashes.row_lengths(), owner)
        missing = tf.reduce_sum(padded * (1 - in_title)[..., None], [1, 2])
        missing *= tf.math.rsqrt(tf.cast(tf.maximum(lengths * orders, 1), missing.dtype))[:, None]
        share = [
            tf.math.divide_no_nan(tf.reduce_sum(hits, 1), tf.cast(count, hits.dtype)[:, None])
            for hits, count in ((in_query, title_hashes.row_lengths()), (in_title, lengths))
        ]
        out = tf.concat([matched, unmatched, missing, *share], -1)
        return tf.ensure_shape(out, [None, 3 * dim + 2 * orders])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "embedding": tf_keras.saving.serialize_keras_object(self.embedding)}

    @classmethod
    def from_config(cls, config: dict) -> "MatchedPools":
        """Builds the layer again."""
        return cls(**{**config, "embedding": tf_keras.saving.deserialize_keras_object(config["embedding"])})


@tf_keras.utils.register_keras_serializable("tfb2d")
class KernelPooling(tf_keras.layers.Layer):
    """Soft matching: how many title tokens lie how near to each query token, counted through RBF kernels.

    Args:
      kernels: their number; one is at cosine 1 (exact match), the others are spread evenly over [-1, 1].
      embedding: the layer's own table of tokens, in which nearness is learnt; its only order is 1.

    Call arguments:
      query_hashes, title_hashes: ragged token hashes of Q queries and T titles.
      owner: `[T]` int, the query of each title.

    Returns:
      `[T, 2 * kernels]` float32: log counts summed over the query's tokens, and each query's mean of them.

    Reference: K-NRM (Xiong et al. 2017, arXiv 1706.06613), section 3.
    """

    def __init__(self, kernels: int, embedding: NGramEmbedding, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.kernels = kernels
        self.embedding = embedding

    def call(self, query_hashes: tf.RaggedTensor, title_hashes: tf.RaggedTensor, owner: tf.Tensor) -> tf.Tensor:
        """See the class."""
        step = 2.0 / max(self.kernels - 1, 1)
        centres = [1.0] + [1.0 - step * (k + 0.5) for k in range(self.kernels - 1)]
        widths = [1e-3] + [step / 2] * (self.kernels - 1)
        query, title = (
            hashes.with_values(tf.math.l2_normalize(self.embedding(hashes)[:, 0], -1, 1e-8)).to_tensor()
            for hashes in (query_hashes, title_hashes)
        )
        cosine = tf.matmul(tf.gather(query, owner), title, transpose_b=True)  # [T, query tokens, title tokens]
        lengths = tf.gather(query_hashes.row_lengths(), owner)
        in_title = tf.sequence_mask(title_hashes.row_lengths(), dtype=cosine.dtype)[:, None]
        in_query = tf.sequence_mask(lengths, dtype=cosine.dtype)
        counts = [
            tf.reduce_sum(tf.exp(-tf.square(cosine - mu) / (2 * sigma**2)) * in_title, 2)
            for mu, sigma in zip(centres, widths, strict=True)
        ]
        # log1p keeps a token without any near title token at 0; the paper's log of a floor would swamp the sum.
        logs = tf.reduce_sum(tf.math.log1p(tf.stack(counts, -1)) * in_query[..., None], 1) / math.log(2)
        mean = tf.math.divide_no_nan(logs, tf.cast(lengths, logs.dtype)[:, None])
        return tf.ensure_shape(tf.concat([0.1 * logs, mean], -1), [None, 2 * self.kernels])

    def get_config(self) -> dict:
        """The constructor's arguments."""
        embedding = tf_keras.saving.serialize_keras_object(self.embedding)
        return {**super().get_config(), "kernels": self.kernels, "embedding": embedding}

    @classmethod
    def from_config(cls, config: dict) -> "KernelPooling":
        """Builds the layer again."""
        return cls(**{**config, "embedding": tf_keras.saving.deserialize_keras_object(config["embedding"])})
