"""Fusion by reciprocal rank: equal scores have equal ranks, and order never depends on how lists were made."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.best import best_rows
from tfb2d.search.fusion import K, fuse, ranks


def lists(*pairs):
    return [(np.array(rows, np.int64), np.array(scores, float)) for rows, scores in pairs]


def test_equal_scores_have_equal_ranks() -> None:
    assert ranks(np.array([3.0, 2.0, 2.0, 1.0])).tolist() == [1, 2, 2, 4]
    assert ranks(np.array([])).tolist() == []
    rows, scores = fuse(lists(([5, 7], [0.5, 0.5]), ([9], [3.0])))
    assert rows.tolist() == [5, 7, 9]
    assert np.allclose(scores, 1 / (K + 1))


def test_a_leg_that_found_nothing_adds_nothing() -> None:
    rows, scores = fuse(lists(([], []), ([4, 2], [2.0, 1.0])))
    assert rows.tolist() == [4, 2]
    assert np.allclose(scores, [1 / 61, 1 / 62])
    assert fuse([])[0].tolist() == []


def test_two_legs_beat_one() -> None:
    rows, scores = fuse(lists(([1, 2, 3], [9, 8, 7]), ([3, 4], [0.9, 0.8])))
    assert rows.tolist() == [3, 1, 2, 4]
    assert scores[0] == round(1 / 61 + 1 / 63, 12)


def test_the_best_rows_tie_by_row() -> None:
    rows, scores = best_rows(np.array([9, 3, 5, 1]), np.array([1.0, 1.0, np.nan, 2.0]), 2)
    assert rows.tolist() == [1, 3]
    assert scores.tolist() == [2.0, 1.0]
    assert best_rows(np.array([9, 3, 5, 1]), np.array([1.0, 1.0, np.nan, 2.0]), 99)[0].tolist() == [1, 3, 9, 5]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), unique_by=lambda pair: pair[0]),
    st.integers(1, 40),
    st.randoms(),
)
def test_order_does_not_depend_on_the_order_given(pairs, k, random) -> None:
    mixed = list(pairs)
    random.shuffle(mixed)
    results = [
        best_rows(np.array([p[0] for p in some], np.int64), np.array([p[1] for p in some], float), k)
        for some in (pairs, mixed)
    ]
    assert results[0][0].tolist() == results[1][0].tolist()
    expected = [row for row, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))][:k]
    assert results[0][0].tolist() == expected
