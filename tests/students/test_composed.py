"""Convolutions over composed n-grams: what a place sees of its text, and that nothing comes of nothing."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.students.composed import ComposedPool, neighbours

DIM = 2


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(1, 8))
def test_neighbours_are_of_the_same_text(lengths: list[int], dilation: int) -> None:
    texts = [np.arange(1, 1 + n * DIM, dtype=np.float32).reshape(n, DIM) + 100 * i for i, n in enumerate(lengths)]
    expected = []
    for text in texts:
        edge = np.zeros((dilation, DIM), np.float32)
        padded = np.concatenate([edge, text, edge])
        expected += [
            np.concatenate([padded[i], padded[i + dilation], padded[i + 2 * dilation]]) for i in range(len(text))
        ]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    found = neighbours(tf.constant(np.concatenate(texts)), tf.constant(rows, tf.int64), dilation).numpy()
    np.testing.assert_array_equal(found, np.reshape(np.array(expected, np.float32), (-1, 3 * DIM)))


@pytest.mark.parametrize("width", [0, 16])
def test_words_change_one_another_as_far_as_the_convolutions_reach(width: int) -> None:
    pool = ComposedPool((1, 2), width, seed=3)
    pool.build(tf.TensorShape([None, 1, DIM]))

    def pooled(places: list[int]) -> np.ndarray:
        tokens = np.zeros((16, 1, DIM), np.float32)
        tokens[places] = 1
        hashes = tf.RaggedTensor.from_row_lengths(tf.zeros(16, tf.int64), [12, 4])
        return pool(tf.constant(tokens), hashes).numpy()

    np.testing.assert_array_equal(pooled([]), np.zeros((2, DIM)))
    last = pooled([11])  # of the first text: the second stands right behind it
    assert np.abs(last[0]).max() > 1e-3
    np.testing.assert_array_equal(last[1], np.zeros(DIM))
    for distance, meet in ((1, True), (6, True), (7, False)):  # a place sees three to each side
        together = pooled([0, distance]) - pooled([0]) - pooled([distance])
        assert (np.abs(together).max() > 1e-3) == meet
