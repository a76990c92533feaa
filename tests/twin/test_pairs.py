"""Pairs, batches and cross pairs: every pair once, queries together, nothing invented."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.teachers.harness import write_table
from tests.twin.small import TASK, write_logits
from tfb2d.config import DistillConfig
from tfb2d.errors import DataError
from tfb2d.outcomes import Stack
from tfb2d.twin.inputs import NGramInputs
from tfb2d.twin.pairs import NEAR, Pairs, labelled_pairs, query_batches, sample_cross_pairs, training_pairs
from tfb2d.twin.texts import PackedTexts
from tfb2d.twin.training import FEWEST, PARTS, make_batch

STACK = Stack((1.0,), (0.0,))
OF = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40)


@settings(max_examples=60)
@given(OF, st.integers(1, 9), st.booleans(), st.integers(0, 5))
def test_batches_hold_every_pair_once_and_keep_a_querys_titles_together(
    rows: list[tuple[int, int]], size: int, ring: bool, seed: int
) -> None:
    query_of = np.array([query for query, _ in rows])
    batches = query_batches(query_of, size, np.random.default_rng(seed), ring)
    assert sorted(np.concatenate(batches)) == list(range(len(rows)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [size] * (len(batches) - 1)
    for query in set(query_of):
        among = sum(query in query_of[batch] for batch in batches)
        assert among <= -(-int((query_of == query).sum()) // size) + 1


def test_batches_differ_by_epoch_alone() -> None:
    query_of = np.repeat(np.arange(20), 3)
    first, again, second = (query_batches(query_of, 8, np.random.default_rng([0, epoch])) for epoch in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert query_batches(np.array([], int), 4, np.random.default_rng(0)) == []


@settings(max_examples=60)
@given(OF, st.integers(0, 4), st.integers(0, 3))
def test_cross_pairs_are_new_and_near(rows: list[tuple[int, int]], count: int, seed: int) -> None:
    query_of = np.unique([query for query, _ in rows], return_inverse=True)[1]
    title_of = np.array([title for _, title in rows])
    known = set(zip(query_of, title_of, strict=True))
    queries, titles = sample_cross_pairs(query_of, title_of, count, seed)
    drawn = list(zip(queries, titles, strict=True))
    n = query_of.max() + 1
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & known
    assert all((queries == query).sum() <= count for query in range(n))
    for query, title in drawn:
        assert any(((query + step) % n, title) in known for step in range(1, NEAR + 1))


def test_targets_are_the_teachers_probabilities_with_a_share_of_labels(tmp_path: Path) -> None:
    nan = float("nan")
    queries, titles = ["a", "a", "b", "c"], ["x", "y", "x", "z"]
    table = write_table(tmp_path / "t", {"query": queries, "title": titles, "label": [1.0, nan, 0.0, nan]})
    write_logits(tmp_path / "l", queries, titles, np.array([2.0, -4.0, nan, nan]))
    config = DistillConfig(temperature=2.0, hard_weight=0.25)
    pairs = training_pairs(table, [tmp_path / "l"], TASK, STACK, config)
    assert pairs.queries == ["a", "b"]  # nothing is known of c
    assert pairs.titles == ["x", "y"]
    assert pairs.query_of.tolist() == [0, 0, 1]
    assert pairs.title_of.tolist() == [0, 1, 0]
    sigmoid = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(pairs.targets, [0.75 * sigmoid + 0.25, 1 / (1 + np.exp(2.0)), 0], rtol=1e-6)
    np.testing.assert_allclose(pairs.teacher, [1.0, -2.0, nan])
    write_logits(tmp_path / "more", ["b"], ["y"], np.array([4.0]))
    more = training_pairs(table, [tmp_path / "l"], TASK, STACK, config, [tmp_path / "more"])
    assert (more.queries[more.query_of[-1]], more.titles[more.title_of[-1]]) == ("b", "y")
    np.testing.assert_allclose(more.targets[-1], 1 / (1 + np.exp(-2.0)), rtol=1e-6)
    assert labelled_pairs(table, TASK).targets[0] == 1


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t", {"query": ["a"], "title": ["x"], "label": [float("nan")]})
    write_logits(tmp_path / "l", ["a"], ["x"], np.array([float("nan")]))
    with pytest.raises(DataError, match="no row to learn from"):
        training_pairs(table, [tmp_path / "l"], TASK, STACK, DistillConfig())


def test_titles_come_in_parts_of_similar_length() -> None:
    inputs = NGramInputs(64, (1,), 40)
    titles = [" ".join(["word"] * (1 + row * 7 % 40)) for row in range(FEWEST)]
    n = len(titles)
    nothing = np.zeros(n, np.float32)
    order = np.random.default_rng(0).permutation(n)
    pairs = Pairs(["a", "b"], titles, np.arange(n) % 2, order, nothing, nothing, nothing)
    batch = make_batch(pairs, PackedTexts.of(inputs, pairs.queries), PackedTexts.of(inputs, titles), np.arange(n))
    assert len(batch.titles) == PARTS
    lengths = np.concatenate([part["lengths"].numpy() for part in batch.titles])
    assert sorted(lengths) == lengths.tolist()
    np.testing.assert_array_equal(lengths[batch.title_of], [len(titles[row].split()) for row in order])
    np.testing.assert_array_equal(batch.query_of, np.arange(n) % 2)
    widths = [part["ids"].shape[1] for part in batch.titles]
    assert widths[0] < widths[-1]
    assert (
        len(make_batch(pairs, PackedTexts.of(inputs, pairs.queries), PackedTexts.of(inputs, titles), [0, 1]).titles)
        == 1
    )
