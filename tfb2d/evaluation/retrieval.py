"""Measures of retrieval over a catalogue: recall@k, NDCG@k and reciprocal rank@k, by query, with intervals by query.

    result = measure_retrieval(relevant, hits, recall_at=(10, 100), top=10)
    result.counts                      # queries, measured, without_relevant, unanswered, unjudged
    result.intervals()                 # {"recall@10": {"value", "ci95"}, "recall@100", "ndcg@10", "mrr@10"}
    hybrid.difference(bm25, "recall@100")

Conventions, which other libraries choose differently:

* Titles of equal score share their ranks: every figure is its mean over all orders of the tied titles, as
  `sklearn.metrics.ndcg_score` has it (McSherry and Najork 2008). trec_eval breaks ties by the title's id.
* A query with relevant titles that got no hits counts 0. pytrec_eval leaves such queries out.
* A query without a relevant title has no recall and no NDCG. It is counted, but no part of the means. trec_eval gives 0.
* The gain of NDCG is the grade itself, as in trec_eval, not 2^grade - 1. Grades may be fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb

import numpy as np

from tfb2d.evaluation.bootstrap import Interval, draws, interval_of
from tfb2d.evaluation.metrics import mean_of
from tfb2d.evaluation.scores import Floats

Gains = Mapping[str, float]  # title's id -> grade, 0 or more; a title that is missing has the grade 0
Hits = Sequence[tuple[str, float]]  # (title's id, score) of the titles that were retrieved; a higher score is better
Ties = list[Floats]  # the gains of the hits, best score first; hits of equal score are together


@dataclass(frozen=True)
class RetrievalFigures:
    """Holds the measures of one retriever."""

    queries: tuple[str, ...]  # the measured queries, `n` of them, sorted
    by_query: Mapping[str, Floats]  # measure, such as "recall@100" -> its figure of each query, `[n]`
    # "queries" with judgements; "measured" of them; "without_relevant", the others; "unanswered", measured queries
    # without a hit; "unjudged", queries with hits and without judgements, which are not measured
    counts: Mapping[str, int]

    def means(self) -> dict[str, float | None]:
        """Returns each measure's mean over the measured queries; None without queries."""
        return {name: interval["value"] for name, interval in self.intervals(resamples=0).items()}

    def intervals(self, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """Returns `{measure: {"value", "ci95"}}`; queries are drawn with replacement, and 0 resamples give no intervals."""
        return {name: _interval(values, resamples, seed) for name, values in self.by_query.items()}

    def difference(self, other: "RetrievalFigures", measure: str, resamples: int = 1000, seed: int = 0) -> Interval:
        """Returns this retriever's mean less another's, `{"value", "ci95"}`, paired by query.

        Raises ValueError where the two were measured on different queries.
        """
        if self.queries != other.queries:
            raise ValueError(f"{len(self.queries)} and {len(other.queries)} queries that differ cannot be paired")
        return _interval(self.by_query[measure] - other.by_query[measure], resamples, seed)


def measure_retrieval(
    relevant: Mapping[str, Gains],
    hits: Mapping[str, Hits],
    *,
    recall_at: Sequence[int] = (10, 100),
    top: int = 10,
    least_gain: float = 0.0,
) -> RetrievalFigures:
    """Measures what a retriever found for each query: `recall@k` for each k of `recall_at`, `ndcg@top` and `mrr@top`.

    `relevant` has the grades of each query's titles; one above `least_gain` is relevant, for recall and reciprocal
    rank. `hits` come in any order, since their scores rank them. Recall is the share of the query's relevant titles
    among the first k, so it stays below 1 where more than k titles are relevant.

    Raises ValueError for a k below 1, a grade that is negative or not finite, a score that is NaN, or an id that is hit
    twice.
    """
    if min((*recall_at, top)) < 1:
        raise ValueError(f"recall_at={tuple(recall_at)}, top={top}: ranks count from 1")
    for query, gains in relevant.items():
        if not all(np.isfinite(gain) and gain >= 0 for gain in gains.values()):
            raise ValueError(f"query {query!r}: its grades must be finite, and 0 or more")
    queries = tuple(sorted(query for query, gains in relevant.items() if max(gains.values(), default=0) > least_gain))
    rows = []
    for query in queries:
        gains, ties = relevant[query], _ties(query, relevant[query], hits.get(query, ()))
        all_relevant = sum(gain > least_gain for gain in gains.values())
        rows.append(
            [
                *(_relevant_among(ties, k, least_gain) / all_relevant for k in recall_at),
                _gained(ties, top) / _gained([np.array([gain]) for gain in sorted(gains.values(), reverse=True)], top),
                _reciprocal_rank(ties, top, least_gain),
            ]
        )
    names = [*(f"recall@{k}" for k in recall_at), f"ndcg@{top}", f"mrr@{top}"]
    figures = np.array(rows, np.float64).reshape(len(queries), len(names))
    counts = {
        "queries": len(relevant),
        "measured": len(queries),
        "without_relevant": len(relevant) - len(queries),
        "unanswered": sum(not hits.get(query) for query in queries),
        "unjudged": len(set(hits) - set(relevant)),
    }
    return RetrievalFigures(queries, dict(zip(names, figures.T, strict=True)), counts)


def _ties(query: str, gains: Gains, hits: Hits) -> Ties:
    """Returns the gains of the hits, in groups of equal score, best score first."""
    if len({title for title, _ in hits}) < len(hits):
        raise ValueError(f"query {query!r}: a title was retrieved twice; a hit counts once")
    if any(np.isnan(score) for _, score in hits):
        raise ValueError(f"query {query!r}: the score of a hit is NaN")
    ranked = sorted(hits, key=lambda hit: -hit[1])
    tied = groupby(ranked, key=lambda hit: hit[1])
    return [np.array([gains.get(title, 0.0) for title, _ in group], np.float64) for _, group in tied]


def _relevant_among(ties: Ties, k: int, least_gain: float) -> float:
    """Returns how many relevant titles are among the first k, on average over the orders of equal scores."""
    count, above = 0.0, 0
    for gains in ties:
        taken = min(len(gains), k - above)
        if taken <= 0:
            break
        count += float((gains > least_gain).mean()) * taken
        above += len(gains)
    return count


def _gained(ties: Ties, top: int) -> float:
    """Returns the discounted gain of the first `top` ranks, on average over the orders of equal scores."""
    gained, above = 0.0, 0
    for gains in ties:
        ranks = np.arange(above, min(above + len(gains), top))
        gained += float(gains.mean() * (1 / np.log2(ranks + 2)).sum())
        above += len(gains)
    return gained


def _reciprocal_rank(ties: Ties, top: int, least_gain: float) -> float:
    """Returns the reciprocal of the first relevant title's rank, on average over the orders of equal scores."""
    above = 0
    for gains in ties:
        size, right = len(gains), int((gains > least_gain).sum())
        if right:
            # The first of `right` titles among `size` is at place p in comb(size - p, right - 1) of the choices of places.
            places = range(1, min(size - right + 1, top - above) + 1)
            return sum(comb(size - place, right - 1) / comb(size, right) / (above + place) for place in places)
        above += size
    return 0.0


def _interval(values: Floats, resamples: int, seed: int) -> Interval:
    if not len(values):
        return {"value": None, "ci95": None}
    mean = mean_of(values)
    return interval_of(np.concatenate([mean(counts) for counts in draws(len(values), resamples, seed)]))
