"""Every layer goes through the harness; what is particular to one is checked beside it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.students.harness import run_layer_test
from tfb2d.students.composed import ComposedPool
from tfb2d.students.layers import NGramEmbedding, SeededDropout, SqrtNPool, TokenHashes
from tfb2d.students.layout import PaddedTexts, RaggedTexts
from tfb2d.students.packed import PackedNGramEmbedding
from tfb2d.students.pairs import KernelPooling, Kernels, MatchedPools

DIM = 4
QUERY, TITLE = (
    TokenHashes(9)(tf.constant(texts)) for texts in (["red shoe", "", "hat"], ["a red shoe", "hat", "hat hat"])
)
TABLE: dict[str, Any] = {"buckets": 97, "dim": DIM, "orders": (1, 2)}
VECTORS = tf.random.stateless_normal([6, 2, DIM], [1, 2])  # of the title's six tokens
QUERY_VECTORS = tf.random.stateless_normal([3, 2, DIM], [3, 4])
POOLS = [tf.random.stateless_normal([3, DIM], [5, 6])] * 2


@pytest.mark.parametrize(
    ("make", "arguments", "inputs", "shape"),
    [
        (TokenHashes, {"max_tokens": 2}, [tf.constant(["a b c", ""])], [2]),
        (TokenHashes, {"max_tokens": 2, "affixes": (1, 2)}, [tf.constant(["a b c", ""])], [2]),
        (TokenHashes, {"max_tokens": 2, "known": (11, 7)}, [tf.constant(["abcdef b c", ""])], [2]),
        (SeededDropout, {"rate": 0.5, "seed": 3, "per_row": True}, [VECTORS], [6, 2, DIM]),
        (NGramEmbedding, {**TABLE, "dropout": 0.1, "seed": 2}, [TITLE], [6, 2, DIM]),
        (NGramEmbedding, {**TABLE, "window": 3}, [TITLE], [6, 3, DIM]),
        (NGramEmbedding, {**TABLE, "window": 3, "affixes": (1, 2), "vocabulary": 5}, [TITLE], [6, 5, DIM]),
        (PackedNGramEmbedding, {**TABLE, "rows": 7, "remapped": True}, [TITLE], [6, 2, DIM]),
        (PackedNGramEmbedding, {**TABLE, "rows": 97, "remapped": False}, [TITLE], [6, 2, DIM]),
        (SqrtNPool, {}, [VECTORS, TITLE], [3, DIM]),
        (ComposedPool, {"convolutions": (1, 2), "seed": 3}, [VECTORS, TITLE], [3, DIM]),
        (ComposedPool, {"convolutions": (2,), "width": 9}, [VECTORS, TITLE], [3, DIM]),
        (
            MatchedPools,
            {"embedding": NGramEmbedding(**TABLE)},
            [QUERY, TITLE, QUERY_VECTORS, VECTORS, *POOLS],
            [3, 3 * DIM + 4],
        ),
        (KernelPooling, {"kernels": 5, "embedding": NGramEmbedding(97, DIM, (1,))}, [QUERY, TITLE], [3, 10]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_harness(make: type, arguments: dict, inputs: list, shape: list[int]) -> None:
    run_layer_test(make, arguments, inputs, shape)


def test_dropout_goes_on_where_its_counter_stands() -> None:
    layer = SeededDropout(0.5, 3)
    first, second = (layer(tf.ones([9]), training=True).numpy() for _ in range(2))
    assert (first != second).any()
    layer.step.assign(1)
    np.testing.assert_array_equal(layer(tf.ones([9]), training=True), second)


LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=6)


def both_layouts(lengths: list[int]) -> tuple[RaggedTexts, PaddedTexts]:
    hashes = tf.RaggedTensor.from_row_lengths(tf.zeros(sum(lengths), tf.int64), tf.constant(lengths, tf.int64))
    return RaggedTexts(hashes), PaddedTexts(tf.sequence_mask(lengths, dtype=tf.float32))


@given(LENGTHS, st.integers(1, 8))
def test_the_two_layouts_compute_the_same(lengths: list[int], dilation: int) -> None:
    ragged, padded = both_layouts(lengths)
    flat = tf.random.stateless_normal([sum(lengths), 2, 3], [1, 2])
    rows = ragged.padded(flat)
    np.testing.assert_array_equal(ragged.tokens(rows), flat)
    np.testing.assert_array_equal(padded.lengths, ragged.lengths)
    np.testing.assert_array_equal(padded.mask(), ragged.mask())
    np.testing.assert_allclose(padded.pool(rows), ragged.pool(flat), atol=1e-6)
    near = ragged.neighbours(flat[:, 0], dilation)
    np.testing.assert_array_equal(padded.only_tokens(padded.neighbours(rows[:, :, 0], dilation)), ragged.padded(near))


@given(LENGTHS, st.integers(1, 8))
def test_neighbours_are_of_the_same_text(lengths: list[int], dilation: int) -> None:
    texts = [np.arange(1, 1 + n * 2, dtype=np.float32).reshape(n, 2) + 100 * i for i, n in enumerate(lengths)]
    expected = []
    for text in texts:
        edge = np.zeros((dilation, 2), np.float32)
        padded = np.concatenate([edge, text, edge])
        expected += [
            np.concatenate([padded[i], padded[i + dilation], padded[i + 2 * dilation]]) for i in range(len(text))
        ]
    near = both_layouts(lengths)[0].neighbours(tf.constant(np.concatenate(texts)), dilation).numpy()
    np.testing.assert_array_equal(near, np.reshape(np.array(expected, np.float32), (-1, 6)))


@pytest.mark.parametrize("width", [0, 16])
def test_words_change_one_another_as_far_as_the_convolutions_reach(width: int) -> None:
    pool = ComposedPool((1, 2), width, seed=3)
    pool.build(tf.TensorShape([None, 1, 2]))

    def pooled(positions: list[int]) -> np.ndarray:
        tokens = np.zeros((16, 1, 2), np.float32)
        tokens[positions] = 1
        hashes = tf.RaggedTensor.from_row_lengths(tf.zeros(16, tf.int64), [12, 4])
        return pool(tf.constant(tokens), hashes).numpy()

    np.testing.assert_array_equal(pooled([]), np.zeros((2, 2)))
    last = pooled([11])  # of the first text: the second stands right behind it
    assert np.abs(last[0]).max() > 1e-3
    np.testing.assert_array_equal(last[1], np.zeros(2))
    for distance, meet in ((1, True), (6, True), (7, False)):  # a position sees three to each side
        together = pooled([0, distance]) - pooled([0]) - pooled([distance])
        assert (np.abs(together).max() > 1e-3) == meet


def test_kernels_count_exact_and_near_matches() -> None:
    near = Kernels(11)
    np.testing.assert_allclose(near.centres[:4], [1.0, 0.9, 0.7, 0.5], atol=1e-6)
    np.testing.assert_allclose(near(tf.constant([[1.0, 0.9]]))[:, :2], [[1, np.exp(-0.5)], [0, 1]], atol=1e-5)
    assert Kernels(1).centres.tolist() == [1.0]
