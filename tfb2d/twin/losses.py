"""Computes what a twin learns from: the teachers' probabilities, and the differences between titles of one query."""

import tensorflow as tf


def soft_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of target probabilities `[n]` and logits `[n]`.

    It is linear in the targets, so a share of hard labels is mixed into them beforehand (`tfb2d.distill.targets`).
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def margin_loss(logits: tf.Tensor, teacher: tf.Tensor, query_of: tf.Tensor) -> tf.Tensor:
    """Returns the mean squared difference between the twin's and the teachers' margins.

    A margin is the difference of two titles' logits. Every two rows of the same query whose teacher logits are known count.

    Args:
      logits: `[n]`, the twin's.
      teacher: `[n]`, the teachers', NaN where there is none.
      query_of: `[n]` integers, the same for rows of the same query.

    Returns:
      A number; 0 where no two rows share a query.

    Reference: Hofstaetter et al. 2020, "Margin-MSE" (arXiv 2010.02666).
    """
    known = tf.math.is_finite(teacher)
    # The difference of two margins is that of the two rows' gaps.
    gap = tf.where(known, logits - tf.where(known, teacher, 0.0), 0.0)
    both = tf.equal(query_of[:, None], query_of[None]) & known[:, None] & known[None]
    both = tf.cast(tf.linalg.set_diag(both, tf.zeros_like(known)), tf.float32)
    squares = tf.square(gap[:, None] - gap[None])
    return tf.reduce_sum(squares * both) / tf.maximum(tf.reduce_sum(both), 1.0)


def vector_loss(vectors: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Returns the mean cosine distance of vectors `[n, dim]` of length 1 from those that they should be.

    Reference: LEAF (Vujanic and Rueckstiess 2025, arXiv 2509.12539) learns a teacher's vectors in this way.
    """
    return tf.reduce_mean(1.0 - tf.reduce_sum(vectors * expected, 1))
