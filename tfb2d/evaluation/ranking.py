"""Measures of order within groups, such as the titles of a query: NDCG, and pairs in the right order.

Labels and scores are `[n]`, grades or 0 and 1, and probabilities. All groups are measured at once.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation.scores import Floats, kind_of

TOP = 10  # ranks that NDCG looks at
PAIRS = 2**20  # pairs of rows compared at once


def group_codes(groups: Sequence[Hashable] | NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Returns the index of each row's group, `[n]`, in the order of first appearance.

    Raises ValueError for another number of groups than rows.
    """
    values = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if len(values) != rows:
        raise ValueError(f"there are {len(values)} group values and {rows} rows")
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)


def group_ndcg(labels: Floats, scores: Floats, groups: NDArray[np.int64]) -> Floats:
    """Returns NDCG@10 of every group, `[groups]`, with the label as the gain.

    Rows with equal scores share the gain of their ranks (McSherry and Najork 2008, as in sklearn.metrics.ndcg_score). So
    constant scores get the mean over all orders. NaN where there is nothing to rank: one row, or no row with a gain.
    """
    sizes = np.bincount(groups)
    firsts = np.cumsum(sizes) - sizes
    order = np.lexsort((-scores, groups))
    sorted_groups, sorted_scores = groups[order], scores[order]
    ranks = np.arange(len(order)) - firsts[sorted_groups]
    discounts = np.where(ranks < TOP, 1 / np.log2(ranks + 2), 0)
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_groups[1:] != sorted_groups[:-1]) | (sorted_scores[1:] != sorted_scores[:-1])
    ties = np.flatnonzero(new)
    mean_gains = np.add.reduceat(labels[order], ties) / np.diff(np.append(ties, len(order)))
    gained = np.bincount(sorted_groups[ties], mean_gains * np.add.reduceat(discounts, ties), len(sizes))
    best = np.bincount(sorted_groups, labels[np.lexsort((-labels, groups))] * discounts, len(sizes))
    ranked = (best > 0) & (sizes > 1)
    return np.divide(gained, best, out=np.full(len(sizes), np.nan), where=ranked)


def every_group_ndcg(ndcg: Floats, labels: Floats, groups: NDArray[np.int64]) -> Floats:
    """Fills in the groups that `group_ndcg` leaves out (NaN), as trec_eval counts them; returns `[groups]`.

    A group without a gain has an NDCG of 0. A single row with a gain has 1, since any order of it is the best one.
    scikit-learn's `ndcg_score` also gives 0 without a gain; it refuses a single row.
    """
    gains = np.bincount(groups, labels, len(ndcg))
    return np.where(np.isfinite(ndcg), ndcg, (gains > 0).astype(np.float64))


def ndcg_groups(task: Any, labels: ArrayLike, groups: Sequence[Hashable] | NDArray[Any]) -> dict[str, int] | None:
    """Counts groups, `{"all", "counted"}`: those of the rows, and those that `ndcg10` counts; None of several classes.

    Groups of two rows or more with a label above 0 are counted.
    """
    if kind_of(task) == "multiclass":
        return None
    codes = group_codes(groups, len(np.asarray(labels)))
    gains = np.bincount(codes, np.asarray(labels, np.float64))
    return {"all": len(gains), "counted": int(((gains > 0) & (np.bincount(codes) > 1)).sum())}


def pair_orders(labels: Floats, scores: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Counts pairs of rows in the right order, and pairs with different labels, each `[groups]`; equal scores count half.

    A group's ratio is `(1 + D) / 2` of Somers' D, as `scipy.stats.somersd(labels, scores)` gives it.
    """
    ends = np.cumsum(np.bincount(groups))
    right, pairs = np.zeros(len(ends)), np.zeros(len(ends))
    for group, rows in enumerate(np.split(np.argsort(groups, kind="stable"), ends[:-1])):
        for part in np.array_split(rows, 1 + len(rows) ** 2 // PAIRS):
            above = labels[part, None] > labels[rows]
            gaps = scores[part, None] - scores[rows]
            pairs[group] += above.sum()
            right[group] += (above & (gaps > 0)).sum() + (above & (gaps == 0)).sum() / 2
    return right, pairs
