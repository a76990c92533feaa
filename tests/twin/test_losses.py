"""Losses against plain NumPy, and one optimizer step against the dense gradient."""

import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.small import settings as small
from tfb2d.twin.layers import NGramPool
from tfb2d.twin.optimizers import Optimizers
from tfb2d.twin.training import margin_loss, soft_cross_entropy, vector_loss

ROWS = st.lists(
    st.tuples(st.floats(-9, 9), st.one_of(st.floats(-9, 9), st.just(float("nan"))), st.integers(0, 2)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(ROWS)
def test_margins_of_every_two_titles_of_a_query(rows: list[tuple[float, float, int]]) -> None:
    logits, teacher, query_of = (np.array(column) for column in zip(*rows, strict=True))
    squares = [
        ((logits[i] - logits[j]) - (teacher[i] - teacher[j])) ** 2
        for i in range(len(rows))
        for j in range(i)
        if query_of[i] == query_of[j] and np.isfinite(teacher[i] + teacher[j])
    ]
    logits_32 = tf.Variable(logits.astype(np.float32))
    with tf.GradientTape() as tape:
        loss = margin_loss(logits_32, tf.constant(teacher, tf.float32), tf.constant(query_of, tf.int32))
    np.testing.assert_allclose(loss.numpy(), np.mean(squares) if squares else 0, rtol=1e-4, atol=1e-4)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, logits_32)).numpy()).all()


def test_cross_entropy_and_cosine_distance() -> None:
    targets, logits = np.array([0.2, 1.0]), np.array([1.5, -40.0])
    expected = np.mean(np.logaddexp(0, logits) - targets * logits)
    actual = soft_cross_entropy(tf.constant(targets, tf.float32), tf.constant(logits, tf.float32))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6)
    vectors, others = tf.constant([[1.0, 0.0], [0.6, 0.8]]), tf.constant([[0.0, 1.0], [0.6, 0.8]])
    np.testing.assert_allclose(vector_loss(vectors, others).numpy(), 0.5, rtol=1e-6)


def test_a_table_row_that_stands_often_learns_by_the_sum_of_its_gradients() -> None:
    layer = NGramPool(6, 3, name="n_grams")
    ids, lengths = tf.constant([[[1], [1], [1], [4]], [[1], [2], [0], [0]]]), tf.constant([4, 2])
    layer(ids, lengths)
    start = np.array(layer.table)
    config = small(table_learning_rate=0.5, warmup=0.0)
    optimizers = Optimizers(layer.trainable_variables, config, steps=4, pretrained=True)
    weights = tf.constant([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]])

    def gradient(table: tf.Variable, pooled: tf.Tensor) -> tf.Tensor:
        return tape.gradient(tf.reduce_sum(pooled * weights), table)

    with tf.GradientTape() as tape:
        sparse = gradient(layer.table.value, layer(ids, lengths))
    optimizers.apply([sparse])

    dense_table = tf.Variable(start)
    with tf.GradientTape() as tape:
        vectors = tf.one_hot(ids[..., 0], 6) @ dense_table * tf.sequence_mask(lengths, 4, tf.float32)[..., None]
        pooled = tf.reduce_sum(vectors, 1) / tf.sqrt(tf.cast(lengths, tf.float32))[:, None]
        dense = gradient(dense_table, pooled).numpy()
    accumulated = 1e-12 + np.mean(dense**2, axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(layer.table), start - 0.5 * dense / np.sqrt(accumulated), rtol=1e-5, atol=1e-6)


def test_a_word_piece_that_stands_often_moves_as_far_as_one_that_stands_once() -> None:
    embedding = keras.layers.Embedding(5, 2, name="token_embedding")
    ids = tf.constant([[1, 1, 1, 1, 2]])
    embedding(ids)
    start = np.array(embedding.embeddings)
    config = small(learning_rate=0.1, warmup=0.0, weight_decay=0.0, clip_norm=0.0)
    optimizers = Optimizers(embedding.trainable_variables, config, steps=4, pretrained=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(embedding(ids))
    optimizers.apply(tape.gradient(loss, [variable.value for variable in optimizers.variables]))
    np.testing.assert_allclose(
        np.array(embedding.embeddings) - start, [[0, 0], [-0.1] * 2, [-0.1] * 2, *[[0, 0]] * 2], atol=1e-5
    )


def test_encoders_and_heads_learn_at_their_own_rates() -> None:
    encoder, head = keras.layers.Dense(1, name="encoder"), keras.layers.Dense(1, name="embedding")
    variables = []
    for layer in (encoder, head):
        layer.build((None, 1))
        variables += layer.trainable_variables
    config = small(learning_rate=0.01, head_learning_rate=0.1, warmup=0.0, weight_decay=0.0)
    optimizers = Optimizers(variables, config, steps=4, pretrained=True)
    before = [np.array(layer.kernel) for layer in (encoder, head)]
    optimizers.apply([tf.ones(variable.shape) for variable in optimizers.variables])
    moved = [
        float((start - np.array(layer.kernel))[0, 0]) for start, layer in zip(before, (encoder, head), strict=True)
    ]
    np.testing.assert_allclose(moved, [0.01, 0.1], rtol=1e-3)
    assert not Optimizers(variables, config, steps=4, pretrained=False).encoders
