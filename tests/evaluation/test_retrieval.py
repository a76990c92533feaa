"""Retrieval measures against ir-measures and scikit-learn, over ties by brute force, and what is counted."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from tfb2d.evaluation.retrieval import measure_retrieval

Judged = tuple[dict[str, dict[str, float]], dict[str, list[tuple[str, float]]]]


def judged_queries() -> Judged:
    """Twenty queries with graded titles, and 25 hits without ties for all but one of them."""
    generator = random.Random(5)
    relevant, hits = {}, {}
    for query in range(20):
        titles = [f"t{number}" for number in range(30)]
        relevant[f"q{query}"] = {
            title: float(generator.choice((1, 1, 2, 3))) for title in generator.sample(titles, 1 + query % 7)
        }
        if query != 13:
            found = generator.sample(titles, 25)
            hits[f"q{query}"] = [(title, 25.0 - rank) for rank, title in enumerate(found)]
    return relevant, hits


def test_figures_are_those_of_ir_measures() -> None:
    # ir_measures 0.4.3: calc_aggregate([R@5, R@20, nDCG@10, RR@10], qrels, run) of the same queries.
    relevant, hits = judged_queries()
    result = measure_retrieval(relevant, hits, recall_at=(5, 20), top=10)
    assert result.means() == pytest.approx(
        {
            "recall@5": 0.1926190476190476,
            "recall@20": 0.6020238095238095,
            "ndcg@10": 0.20123782479006186,
            "mrr@10": 0.2963888888888889,
        }
    )
    assert result.counts == {"queries": 20, "measured": 20, "without_relevant": 0, "unanswered": 1, "unjudged": 0}


@given(
    st.lists(
        st.tuples(st.sampled_from((0.0, 0.25, 0.5, 1.0)), st.sampled_from((0.1, 0.2, 0.3))), min_size=2, max_size=30
    ).filter(lambda rows: max(gain for gain, _ in rows) > 0)
)
def test_ndcg_of_tied_scores_is_that_of_scikit_learn(rows: list[tuple[float, float]]) -> None:
    gains, scores = zip(*rows, strict=True)
    hits = [(str(title), score) for title, score in enumerate(scores)]
    result = measure_retrieval({"q": {str(title): gain for title, gain in enumerate(gains)}}, {"q": hits}, top=5)
    assert result.means()["ndcg@5"] == pytest.approx(ndcg_score([gains], [scores], k=5))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from((0.1, 0.2))), min_size=1, max_size=5).filter(
        lambda rows: any(right for right, _ in rows)
    ),
    st.integers(1, 6),
)
def test_ties_give_the_mean_over_all_orders(rows: list[tuple[bool, float]], k: int) -> None:
    def figures(scores: list[float]) -> dict[str, float | None]:
        relevant = {"q": {str(title): float(right) for title, (right, _) in enumerate(rows)}}
        hits = {"q": [(str(title), score) for title, score in enumerate(scores)]}
        return measure_retrieval(relevant, hits, recall_at=(k,), top=k).means()

    scores = [score for _, score in rows]
    orders = [
        figures([score + 0.001 * place for score, place in zip(scores, places, strict=True)])
        for places in itertools.permutations(range(len(rows)))
    ]
    means = {name: np.mean([order[name] for order in orders]) for name in orders[0]}
    assert figures(scores) == pytest.approx(means)


def test_no_query_is_dropped_without_being_counted() -> None:
    relevant = {"found": {"a": 1.0, "b": 1.0}, "nothing came": {"a": 1.0}, "no answer": {"a": 0.0}, "none": {}}
    hits = {"found": [("b", 2.0), ("x", 3.0)], "no answer": [("a", 1.0)], "stranger": [("a", 1.0)], "nothing came": []}
    result = measure_retrieval(relevant, hits, recall_at=(1, 2))
    assert result.queries == ("found", "nothing came")
    assert result.counts == {"queries": 4, "measured": 2, "without_relevant": 2, "unanswered": 1, "unjudged": 1}
    best = 1 + 1 / np.log2(3)
    assert result.means() == pytest.approx(
        {"recall@1": 0.0, "recall@2": 0.25, "ndcg@10": 1 / np.log2(3) / best / 2, "mrr@10": 0.25}
    )


def test_grades_that_count_as_relevant_may_be_raised() -> None:
    relevant, hits = {"q": {"a": 0.25, "b": 1.0}, "p": {"a": 0.25}}, {"q": [("a", 2.0), ("b", 1.0)]}
    assert measure_retrieval(relevant, hits).means()["mrr@10"] == 0.5  # of q 1, of p 0
    strict = measure_retrieval(relevant, hits, least_gain=0.5, recall_at=(1,))
    assert (strict.means()["mrr@10"], strict.means()["recall@1"], strict.counts["without_relevant"]) == (0.5, 0.0, 1)


def test_intervals_are_by_query_and_differences_are_paired() -> None:
    relevant, hits = judged_queries()
    good = measure_retrieval(relevant, hits, recall_at=(20,))
    better = measure_retrieval(
        relevant,
        {
            query: [*found, *((title, 100.0) for title in set(relevant[query]) - {t for t, _ in found})]
            for query, found in hits.items()
        },
        recall_at=(20,),
    )
    figure = good.intervals()["recall@20"]
    error = good.by_query["recall@20"].std() / np.sqrt(20)
    low, high = figure["ci95"]
    assert figure["value"] == good.means()["recall@20"]
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    gain = better.difference(good, "recall@20")
    assert gain["value"] == pytest.approx(better.means()["recall@20"] - figure["value"])
    assert 0 < gain["ci95"][0] <= gain["value"] <= gain["ci95"][1]
    assert good.difference(good, "recall@20")["ci95"] == [0.0, 0.0]
    assert good.intervals(resamples=0)["mrr@10"]["ci95"] is None
    with pytest.raises(ValueError, match="20 and 1 queries that differ"):
        good.difference(measure_retrieval({"q": {"a": 1.0}}, {}, recall_at=(20,)), "recall@20")


def test_without_queries_there_are_no_figures() -> None:
    result = measure_retrieval({}, {"q": [("a", 1.0)]})
    assert set(result.means().values()) == {None}
    assert result.intervals()["ndcg@10"] == {"value": None, "ci95": None}
    assert result.counts["unjudged"] == 1


@pytest.mark.parametrize(
    ("relevant", "hits", "settings", "message"),
    [
        ({"q": {"a": -1.0}}, {}, {}, "'q': its grades"),
        ({"q": {"a": float("nan")}}, {}, {}, "'q': its grades"),
        ({"q": {"a": 1.0}}, {"q": [("a", float("nan"))]}, {}, "'q': the score of a hit is NaN"),
        ({"q": {"a": 1.0}}, {"q": [("a", 2.0), ("a", 1.0)]}, {}, "'q': a title was retrieved twice"),
        ({}, {}, {"recall_at": (0,)}, "ranks count from 1"),
        ({}, {}, {"top": 0}, "ranks count from 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(relevant: dict, hits: dict, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_retrieval(relevant, hits, **settings)
