"""Metrics of a model's scores against labels; `scores.py` says which values both have.

Every metric is a weighted sum over rows that are sorted and binned once. With each row counted once it is the figure of the
rows. A thousand counts give those of a thousand resamples (`bootstrap.py`), by matrix products instead of a thousand sorts.

A grade of 0.5 or more counts as positive where a metric has two sides. An undefined figure (the ROC-AUC of rows of one
class) is NaN here, and None in what `metrics` returns, so it is `null` in JSON.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation.ranking import every_group_ndcg, group_codes, group_ndcg, pair_orders
from tfb2d.evaluation.scores import (
    THRESHOLD,
    Bools,
    Floats,
    check_labels,
    check_scores,
    decisions,
    hits,
    kind_of,
)

Measure = Callable[[Floats], Floats]  # counts [resamples, rows] to figures [resamples], NaN: undefined

BINS = 15  # equal-width bins of the calibration error, as Guo et al. 2017 (arXiv 1706.04599) has them
EPSILON = 1e-7  # the least probability of the log loss: about the step of a float32 below 1
LEAST_SPREAD = 1e-12  # values whose standard deviation is smaller do not vary, but for rounding
LESS_IS_BETTER = ("rmse", "ece", "log_loss")  # of the metrics


def divide(top: Floats, bottom: Floats) -> Floats:
    """Returns top / bottom, NaN where the bottom is not above 0."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def ratio_of(tops: Floats, bottoms: Floats) -> Measure:
    """Measures the sum of `tops` over the sum of `bottoms`, each `[n]` or `[n, k]`."""
    return lambda counts: divide(counts @ tops, counts @ bottoms)


def mean_of(values: Floats) -> Measure:
    """Measures the mean of values `[n]`."""
    return lambda counts: divide(counts @ values, counts.sum(axis=1))


def log_losses(kind: str, labels: Floats, scores: Floats) -> Floats:
    """Returns the cross-entropy of every row, `[n]`, in nats; a grade is a soft label."""
    if kind == "multiclass":
        return -np.log(np.maximum(scores[np.arange(len(labels)), labels.astype(np.int64)], EPSILON))
    inside = np.clip(scores, EPSILON, 1 - EPSILON)
    return -(labels * np.log(inside) + (1 - labels) * np.log1p(-inside))


def calibration_rows(kind: str, labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Returns claimed probability and outcome of every row, each `[n]`.

    A multi-class claim is the probability of the class decided for, its outcome whether that was right; otherwise the
    claim is the score and the outcome the label.
    """
    if kind == "multiclass":
        return scores.max(axis=1), hits(kind, labels, scores).astype(np.float64)
    return scores, labels


def _calibration(kind: str, labels: Floats, scores: Floats) -> Measure:
    """Measures the mean distance of claim and outcome over `BINS` equal-width bins, weighted by their rows."""
    claims, outcomes = calibration_rows(kind, labels, scores)
    gaps = np.zeros((len(claims), BINS))
    gaps[np.arange(len(claims)), np.minimum((claims * BINS).astype(np.int64), BINS - 1)] = claims - outcomes
    return lambda counts: divide(np.abs(counts @ gaps).sum(axis=1), counts.sum(axis=1))


def one_against_rest(kind: str, labels: Floats, scores: Floats) -> Iterator[tuple[Bools, Floats]]:
    """Yields the (positive `[n]`, score `[n]`) that a ranking metric averages over: one, or one for each class."""
    if kind == "multiclass":
        yield from ((labels == index, scores[:, index]) for index in range(scores.shape[1]))
    else:
        yield labels >= THRESHOLD, scores


def _ranking(positive: Bools, scores: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Measures ROC-AUC and average precision; rows of equal score form one step of both curves."""
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    sides = positive[order].astype(np.float64)

    def measure(counts: Floats) -> tuple[Floats, Floats]:
        ordered = counts[:, order]
        right = np.add.reduceat(ordered * sides, steps, axis=1)
        wrong = np.add.reduceat(ordered, steps, axis=1) - right
        rights, wrongs = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
        all_right, all_wrong = rights[:, -1], wrongs[:, -1]
        below = all_wrong[:, None] - wrongs + wrong / 2  # negatives that the step's positives outrank, ties by half
        precision = rights / np.maximum(rights + wrongs, 1)
        area = divide((right * below).sum(axis=1), all_right * all_wrong)
        average = divide((right * precision).sum(axis=1), all_right)
        return area, np.where(all_wrong > 0, average, np.nan)

    return measure


def _ranks(values: Floats) -> Callable[[Floats], Floats]:
    """Measures mean ranks, `[resamples, n]`, less a constant of the resample."""
    codes = np.unique(values, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    steps = np.flatnonzero(np.append(True, np.diff(codes[order]) != 0))

    def measure(counts: Floats) -> Floats:
        rows = np.add.reduceat(counts[:, order], steps, axis=1)
        return (np.cumsum(rows, axis=1) - rows / 2)[:, codes]

    return measure


def correlation(counts: Floats, left: Floats, right: Floats) -> Floats:
    """Returns Pearson's correlation, `[resamples]`, of rows that count so often; values are `[n]` or `[resamples, n]`."""
    rows = counts.sum(axis=1, keepdims=True)
    lefts, rights = (values - (counts * values).sum(axis=1, keepdims=True) / rows for values in (left, right))
    spreads = [np.sqrt((counts * gaps**2).sum(axis=1)) for gaps in (lefts, rights)]
    varied = np.minimum(*spreads) > LEAST_SPREAD * np.sqrt(rows[:, 0])
    return divide((counts * lefts * rights).sum(axis=1), np.where(varied, spreads[0] * spreads[1], 0.0))


def _graded(labels: Floats, scores: Floats, scale: float) -> dict[str, Measure]:
    label_ranks, score_ranks, mean_square = _ranks(labels), _ranks(scores), mean_of((labels - scores) ** 2)
    return {
        "spearman": lambda counts: correlation(counts, label_ranks(counts), score_ranks(counts)),
        "pearson": lambda counts: correlation(counts, labels, scores),
        "rmse": lambda counts: scale * np.sqrt(mean_square(counts)),
    }


def _macro_f1(labels: Floats, scores: Floats) -> Measure:
    known, decided = (np.eye(scores.shape[1])[each.astype(np.int64)] for each in (labels, decisions(scores)))
    by_class = ratio_of(2 * known * decided, known + decided)
    return lambda counts: np.nanmean(by_class(counts), axis=1)  # classes without a row are left out


def _decided(labels: Floats, scores: Floats, threshold: float) -> dict[str, Measure]:
    yes = (scores >= threshold).astype(np.float64)

    def share(top: Floats, bottom: Floats) -> Measure:
        ratio = ratio_of(top, bottom)
        return lambda counts: np.nan_to_num(ratio(counts), nan=0.0)  # without a "yes" the figure is 0

    right = yes * labels
    return {"f1": share(2 * right, yes + labels), "precision": share(right, yes), "recall": share(right, labels)}


class CountedMetrics:
    """Measures one model on rows that each count so often: what repeating the rows would give, without repeating them.

    Labels and scores are those of `check_labels` and `check_scores`, `codes` those of `ranking.group_codes`; None
    without groups. `threshold` is of a binary task's `f1`, `precision` and `recall`; None leaves them out.
    """

    def __init__(
        self,
        task: Any,
        labels: Floats,
        scores: Floats,
        codes: NDArray[np.int64] | None = None,
        threshold: float | None = None,
    ) -> None:
        kind = kind_of(task)
        self._rankings = [_ranking(*view) for view in one_against_rest(kind, labels, scores)]
        self._by_group: dict[str, Measure] = {}
        if codes is not None and kind != "multiclass":
            ndcg = group_ndcg(labels, scores, codes)
            ranked = np.isfinite(ndcg)
            self._by_group["ndcg10"] = ratio_of(np.where(ranked, ndcg, 0), ranked.astype(np.float64))
            self._by_group["ndcg10_all"] = mean_of(every_group_ndcg(ndcg, labels, codes))
            if kind == "graded":
                self._by_group["pair_order"] = ratio_of(*pair_orders(labels, scores, codes))
        self._accuracy = mean_of(hits(kind, labels, scores).astype(np.float64))
        self._by_row: dict[str, Measure] = {}
        if kind == "binary" and threshold is not None:
            self._by_row |= _decided(labels, scores, threshold)
        if kind == "multiclass":
            self._by_row["macro_f1"] = _macro_f1(labels, scores)
        if kind == "graded":
            low, high = getattr(task, "label_range", ()) or (0.0, 1.0)
            self._by_row |= _graded(labels, scores, float(high - low))
        self._by_row |= {
            "ece": _calibration(kind, labels, scores),
            "log_loss": mean_of(log_losses(kind, labels, scores)),
        }

    def measure(self, counts: Floats, group_counts: Floats | None = None) -> dict[str, Floats]:
        """Returns each metric, `[resamples]`; NaN where it is undefined.

        Args:
          counts: `[resamples, n]`, how often each row counts.
          group_counts: `[resamples, groups]`, the same of groups; without them there is no metric of groups.
        """
        both = np.array([ranking(counts) for ranking in self._rankings])  # [classes, 2, resamples]
        defined = np.isfinite(both)
        area, precision = divide(np.where(defined, both, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
        by_group = {} if group_counts is None else {key: of(group_counts) for key, of in self._by_group.items()}
        by_row = {key: of(counts) for key, of in self._by_row.items()}
        return {"accuracy": self._accuracy(counts), "roc_auc": area, "pr_auc": precision, **by_group, **by_row}


def threshold_figures(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Returns `{"f1", "precision", "recall"}` of deciding "yes" from a threshold on; 0 where there is no "yes".

    Labels `[n]` are 0 or 1, scores probabilities `[n]`. The threshold is chosen on other rows: else figures are too good.
    """
    checked = check_scores("binary", scores)
    measures = _decided(check_labels("binary", labels, checked), checked, threshold)
    return {name: float(measure(np.ones((1, len(checked))))[0]) for name, measure in measures.items()}


def metrics(
    task: Any,
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    threshold: float | None = None,
) -> dict[str, float | None]:
    """Measures accuracy, ROC-AUC, PR-AUC (average precision), NDCG@10, expected calibration error and log loss (nats).

    Args:
      task: a Task, or a kind: "binary", "graded" or "multiclass".
      labels: `[n]`.
      scores: probabilities, `[n]` or `[n, k]`. Multi-class ROC-AUC and PR-AUC are the mean, over the classes that have
        both rows and other rows, of one against the rest.
      groups: `[n]`, rows of the same query; only then, and not for multi-class, there are two means of NDCG@10.
        `ndcg10` is over the groups with two rows or more and a label above 0. `ndcg10_all` is over all groups, as
        trec_eval and scikit-learn count them (`every_group_ndcg`).
      threshold: of a binary task, chosen on other rows; only then there are `f1`, `precision` and `recall`.

    Returns:
      `accuracy`, `roc_auc`, `pr_auc`, `ndcg10` and `ndcg10_all` (with groups), `ece` and `log_loss`; None where
      undefined. Multi-class: `macro_f1`, the mean F1 of the classes that a row has or was decided for. Graded: `spearman`,
      `pearson`, `rmse` on the user's scale, and with groups `pair_order`, the share of a group's pairs of different grades
      that the scores order rightly.

    Raises:
      ValueError: arrays that do not fit the task or one another.
    """
    kind = kind_of(task)
    scores = check_scores(kind, scores)
    labels = check_labels(kind, labels, scores)
    codes = None if groups is None else group_codes(groups, len(labels))
    once = None if codes is None else np.ones((1, codes.max() + 1))
    figures = CountedMetrics(task, labels, scores, codes, threshold).measure(np.ones((1, len(labels))), once)
    return {name: figure_or_none(values[0]) for name, values in figures.items()}


def figure_or_none(value: float) -> float | None:
    """Returns a figure as a float, or None where it is NaN."""
    return float(value) if np.isfinite(value) else None
