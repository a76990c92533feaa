"""The towers' layers and the crossing forms, against plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.twin.crossing import FORMS, crossing_layer
from tfb2d.twin.layers import NGramPool, Pooling, TriLetterEmbedding, UnitLength

LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


def test_vectors_have_length_1_whatever_they_were() -> None:
    vectors = np.array([[3, 4], [0, 0], [1e-30, 0], [1e18, -1e18]], np.float32)
    scaled = UnitLength()(tf.constant(vectors)).numpy()
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(scaled[0], [0.6, 0.8], rtol=1e-5)
    np.testing.assert_allclose(scaled[1], [np.sqrt(0.5)] * 2, rtol=1e-6)


@settings(max_examples=20)
@given(LENGTHS, st.sampled_from(["mean", "weighted", "cls"]), st.integers(0, 3))
def test_pooling_counts_no_padding(lengths: list[int], kind: str, more: int) -> None:
    rng = np.random.default_rng(len(lengths))
    longest = max(lengths) + 1 + more
    states = rng.normal(size=(len(lengths), longest, 3)).astype(np.float32)
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int32)
    layer = Pooling(kind)
    layer.build(states.shape, mask.shape)
    score = np.array([0.5, -2.0, 1.0], np.float32)
    if kind == "weighted":
        layer.score.assign(score)
    pooled = layer(tf.constant(states), tf.constant(mask)).numpy()
    for row, length in enumerate(lengths):
        real = states[row, :length].astype(np.float64)
        if kind == "cls":
            expected = states[row, 0]
        elif not length:
            expected = np.zeros(3)
        else:
            weights = np.ones(length) if kind == "mean" else np.exp(real @ score)
            expected = (real * weights[:, None]).sum(0) / weights.sum()
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-4, atol=1e-6)


def test_padding_with_a_score_beyond_all_others_changes_nothing() -> None:
    layer = Pooling("weighted")
    layer.build((1, 2, 1), (1, 2))
    layer.score.assign([1.0])
    pooled = layer(tf.constant([[[2.0], [1e4]]]), tf.constant([[1, 0]])).numpy()
    np.testing.assert_allclose(pooled, [[2.0]])


@settings(max_examples=20)
@given(LENGTHS, st.integers(1, 2), st.integers(0, 2))
def test_n_grams_are_summed_over_the_root_of_their_number(lengths: list[int], orders: int, more: int) -> None:
    rng = np.random.default_rng(sum(lengths))
    ids = rng.integers(0, 7, (len(lengths), max(lengths) + 1 + more, orders)).astype(np.int32)
    layer = NGramPool(7, 4)
    pooled = layer(tf.constant(ids), tf.constant(lengths, tf.int32)).numpy()
    table = np.array(layer.table)
    for row, length in enumerate(lengths):
        vectors = table[ids[row, :length].ravel()]
        expected = vectors.sum(0) / np.sqrt(max(len(vectors), 1))
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)


def test_tri_letters_of_a_word_are_summed_and_the_start_comes_first() -> None:
    layer = TriLetterEmbedding(9, 4, max_words=5)
    ids = np.array([[[3, 5, 0], [7, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.int32)
    embedded = layer(tf.constant(ids)).numpy()
    table, positions = np.array(layer.table), np.array(layer.positions)
    np.testing.assert_allclose(embedded[0, 0], positions[0], rtol=1e-6)
    np.testing.assert_allclose(embedded[0, 1], table[3] + table[5] + positions[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(embedded[0, 2], table[7] + positions[2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(embedded[1], positions[:3], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_crossing_forms(form: str) -> None:
    rng = np.random.default_rng(1)
    query, title = (rng.normal(size=(5, 8)).astype(np.float32) for _ in range(2))
    query, title = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (query, title))
    layer = crossing_layer(form, 8)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    weights = [np.array(weight) for weight in layer.weights]
    if form == "cosine":
        expected = 10 * ((query * title).sum(1) * weights[0] + weights[1])
    else:
        x = np.sqrt(8) * (np.concatenate([query, title], 1) if form == "concat" else np.maximum(query, title))
        change = np.maximum(x @ weights[0] + weights[1], 0)
        if form == "two_layer":
            assert weights[0].shape == (8, 64)
            change = change @ weights[2] + weights[3]
        expected = ((x + change) @ weights[-2] + weights[-1])[:, 0]
    np.testing.assert_allclose(layer(tf.constant(query), tf.constant(title)).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_before_training_near_vectors_have_higher_logits_than_far_ones(form: str) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(2)
    query, other, noise = (rng.normal(size=(200, 64)).astype(np.float32) for _ in range(3))
    query, near, far = (
        tf.constant(values / np.linalg.norm(values, axis=1, keepdims=True))
        for values in (query, query + 0.2 * noise, other)
    )
    layer = crossing_layer(form, 64)
    near_logits, far_logits = layer(query, near).numpy(), layer(query, far).numpy()
    assert np.mean(near_logits > far_logits) > 0.99
    assert near_logits.mean() > 0.5
    assert far_logits.mean() < -0.5


def test_a_table_keeps_sparse_gradients_in_bfloat16() -> None:
    layer = TriLetterEmbedding(9, 4, 5, dtype="mixed_bfloat16")
    ids = tf.constant([[[3, 5], [7, 0]]])
    plain = TriLetterEmbedding(9, 4, 5)
    plain.build(ids.shape)
    layer.build(ids.shape)
    for variable, value in zip(layer.weights, plain.weights, strict=True):
        variable.assign(value)
    with tf.GradientTape() as tape:
        states = layer(ids)
    gradient = tape.gradient(states, layer.table.value)
    assert states.dtype == tf.bfloat16
    assert isinstance(gradient, tf.IndexedSlices)
    assert sorted(gradient.indices.numpy()) == [3, 5, 7]
    np.testing.assert_allclose(tf.cast(states, tf.float32), plain(ids), atol=1e-3)


@pytest.mark.parametrize(
    "layer", [Pooling("mean"), NGramPool(7, 4), TriLetterEmbedding(9, 4, 5), crossing_layer("max", 4)]
)
def test_layers_are_saved_by_their_settings(layer: keras.layers.Layer) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="mean, cls and weighted"):
        Pooling("max")
    with pytest.raises(ValueError, match="two_layer"):
        crossing_layer("sum", 4)
