"""Fewer rows: what is left out, what is merged, and what a budget cannot do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.compress.budget import BudgetError, Table, fit, weighted_k_means


def table(buckets: int, seen: int, dim: int = 8, seed: int = 0, unseen_rows: int = 1) -> Table:
    rng = np.random.default_rng(seed)
    counts = np.zeros(buckets, np.int64)
    counts[rng.permutation(buckets)[:seen]] = np.sort(rng.zipf(1.5, seen))[::-1]
    return Table(rng.normal(size=(buckets, dim)).astype(np.float32), counts, unseen_rows)


def test_rows_that_training_read_keep_their_vectors_and_the_others_say_nothing() -> None:
    trained = table(1000, 100)
    stored = trained.stored()
    assert stored.values.shape == (101, 8)
    vectors = stored.vectors(np.arange(1000))
    read = trained.counts > 0
    np.testing.assert_allclose(vectors[read], trained.values[read], atol=stored.scale.max() / 2)
    assert not vectors[~read].any()


def test_a_table_that_was_read_throughout_needs_no_map() -> None:
    assert table(100, 95).stored().remap is None


def test_words_never_seen_stay_apart_where_they_are_compared() -> None:
    trained = table(1000, 100, unseen_rows=16)
    unread = np.flatnonzero(trained.counts == 0)
    vectors = trained.stored().vectors(unread)
    assert len(np.unique(vectors, axis=0)) == 16
    assert np.abs(vectors).sum(1).min() > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 20_000), st.integers(1, 9), st.integers(0, 99))
def test_a_budget_is_kept_or_refused_with_the_least_that_would_do(
    buckets: int, seen: int, room: int, unseen_rows: int, seed: int
) -> None:
    tables = {
        "a": table(buckets, min(seen, buckets), seed=seed, unseen_rows=unseen_rows),
        "b": table(50, 20, seed=seed + 1),
    }
    try:
        actual = fit(tables, room)
    except BudgetError as refused:
        least = refused.least
        assert room < least
        room, actual = least, fit(tables, least)
    assert sum(trained.nbytes for trained in actual.values()) <= room
    for name, trained in actual.items():
        assert trained.buckets == len(tables[name].values)
        assert trained.remap is None or (trained.remap.min() >= 0 and trained.remap.max() < len(trained.values))


def test_under_a_budget_the_most_read_rows_keep_their_own() -> None:
    trained = table(2000, 1000)
    (stored,) = fit({"a": trained}, 4 * 2000 + 12 * 300).values()
    most = np.argsort(-trained.counts, kind="stable")[:100]
    np.testing.assert_allclose(stored.vectors(most), trained.values[most], atol=stored.scale.max() / 2)


def test_rare_rows_share_with_rows_that_mean_the_same() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4, 8)).astype(np.float32) * 3
    kind = rng.integers(0, 4, 500)
    rows = directions[kind] + rng.normal(size=(500, 8)).astype(np.float32) * 0.1
    centres, member = weighted_k_means(rows, rng.integers(1, 9, 500), 32)
    assert np.abs(centres[member] - directions[kind]).max() < 0.6
    again, _ = weighted_k_means(rows, np.ones(500), 32)
    np.testing.assert_array_equal(again, weighted_k_means(rows, np.ones(500), 32)[0])


def test_a_budget_below_everything_is_refused() -> None:
    with pytest.raises(BudgetError, match="at least"):
        fit({"a": table(1000, 900)}, 100)
