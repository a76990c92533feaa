"""Bootstrap intervals of metrics: percentiles over resampled rows, or over resampled groups where there are groups.

A resample is a vector of counts: how often each row was drawn. Rows are sorted and binned once, and every metric is a
weighted sum over them. So a thousand resamples cost matrix products instead of a thousand sorts. Compared models share
their resamples, so the interval of a difference or ratio is that of the pair (Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, chapters 13 and 16).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation.metrics import (
    BINS,
    LESS_IS_BETTER,
    calibration_rows,
    class_counts,
    decision_counts,
    log_losses,
    metrics,
    one_against_rest,
    retention,
    scale_of,
)
from tfb2d.evaluation.ranking import every_group_ndcg, group_codes, group_ndcg, pair_orders
from tfb2d.evaluation.scores import Bools, Floats, check_scores, hits, kind_of

Interval = dict[str, Any]  # {"value": float or None, "ci95": [lowest, highest] or None}
Measure = Callable[[Floats], Floats]  # counts [resamples, rows] to figures [resamples], NaN: undefined

CELLS = 2**21  # counts held at once: 16 MiB


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def _mean_of(rows: Floats) -> Measure:
    return lambda counts: _divide(counts @ rows, counts.sum(axis=1))


def _ranking(positive: Bools, scores: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Returns ROC-AUC and average precision of weighted rows; rows of equal score form one step of both curves."""
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
        area = _divide((right * below).sum(axis=1), all_right * all_wrong)
        average = _divide((right * precision).sum(axis=1), all_right)
        return area, np.where(all_wrong > 0, average, np.nan)

    return measure


def _calibration(kind: str, labels: Floats, scores: Floats) -> Measure:
    claims, outcomes, bins = calibration_rows(kind, labels, scores)
    gaps = np.zeros((len(bins), BINS))
    gaps[np.arange(len(bins)), bins] = claims - outcomes
    return lambda counts: _divide(np.abs(counts @ gaps).sum(axis=1), counts.sum(axis=1))


def _ranks(values: Floats) -> Callable[[Floats], Floats]:
    """Returns mean ranks of weighted rows, `[resamples, n]`, less a constant of the resample."""
    _, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    steps = np.flatnonzero(np.append(True, np.diff(codes[order]) != 0))

    def measure(counts: Floats) -> Floats:
        rows = np.add.reduceat(counts[:, order], steps, axis=1)
        return (np.cumsum(rows, axis=1) - rows / 2)[:, codes]

    return measure


def _correlation(counts: Floats, left: Floats, right: Floats) -> Floats:
    """Returns Pearson's correlation of weighted rows; values are `[n]` or `[resamples, n]`."""
    rows = counts.sum(axis=1, keepdims=True)
    lefts, rights = (values - (counts * values).sum(axis=1, keepdims=True) / rows for values in (left, right))
    squares = (counts * lefts**2).sum(axis=1) * (counts * rights**2).sum(axis=1)
    return _divide((counts * lefts * rights).sum(axis=1), np.sqrt(squares))


def _graded(labels: Floats, scores: Floats, scale: float) -> dict[str, Measure]:
    label_ranks, score_ranks, squares = _ranks(labels), _ranks(scores), (labels - scores) ** 2
    mean_square = _mean_of(squares)
    return {
        "spearman": lambda counts: _correlation(counts, label_ranks(counts), score_ranks(counts)),
        "pearson": lambda counts: _correlation(counts, labels, scores),
        "rmse": lambda counts: scale * np.sqrt(mean_square(counts)),
    }


def _macro_f1(labels: Floats, scores: Floats) -> Measure:
    by_class = _ratio_of(*class_counts(labels, scores))
    return lambda counts: np.nanmean(by_class(counts), axis=1)  # classes without a row in a resample are left out


def _decided(labels: Floats, scores: Floats, threshold: float) -> dict[str, Measure]:
    yes, right = decision_counts(labels, scores, threshold)

    def share(top: Floats, bottom: Floats) -> Measure:
        ratio = _ratio_of(top, bottom)
        return lambda counts: np.nan_to_num(ratio(counts), nan=0.0)  # without a "yes" the figure is 0

    return {"f1": share(2 * right, yes + labels), "precision": share(right, yes), "recall": share(right, labels)}


class CountedMetrics:
    """Measures one model on rows that each count so often: what repeating the rows would give, without repeating them.

    Args:
      kind: of the task.
      labels: `[n]` float64.
      scores: `[n]` or `[n, k]`.
      scale: from labels between 0 and 1 to grades, for `rmse`.
      threshold: of a binary task's `f1`, `precision` and `recall`; None leaves them out.
    """

    def __init__(
        self, kind: str, labels: Floats, scores: Floats, scale: float = 1.0, threshold: float | None = None
    ) -> None:
        self._plain: dict[str, Measure] = {
            "accuracy": _mean_of(hits(kind, labels, scores).astype(np.float64)),
            "ece": _calibration(kind, labels, scores),
            "log_loss": _mean_of(log_losses(kind, labels, scores)),
        }
        if kind == "binary" and threshold is not None:
            self._plain |= _decided(labels, scores, threshold)
        if kind == "multiclass":
            self._plain["macro_f1"] = _macro_f1(labels, scores)
        if kind == "graded":
            self._plain |= _graded(labels, scores, scale)
        self._rankings = [_ranking(*view) for view in one_against_rest(kind, labels, scores)]

    def measure(self, counts: Floats) -> dict[str, Floats]:
        """Returns each metric `[resamples]` of rows that count `[resamples, n]` times; NaN where it is undefined."""
        figures = {name: measure(counts) for name, measure in self._plain.items()}
        both = np.array([ranking(counts) for ranking in self._rankings])  # [classes, 2, resamples]
        defined = np.isfinite(both)
        means = _divide(np.where(defined, both, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
        return {**figures, "roc_auc": means[0], "pr_auc": means[1]}


class Bootstrap:
    """Computes metrics of models that scored the same rows, and 95% intervals of them, their ratios and differences.

    Args:
      task: a Task or its kind.
      labels: `[n]`.
      models: name to scores, `[n]` or `[n, k]`.
      groups: `[n]`; rows of a group are drawn together. With groups there are `ndcg10` and `ndcg10_all`, except of
        multi-class tasks.
      thresholds: of binary tasks, model to the threshold of its `f1`, `precision` and `recall`; a model may be missing.
      shares: name to `[n]` booleans whose mean is measured too (the rows on which two models agree).
      resamples: 0 gives no intervals.
      seed: of the draws; the same seed and rows give the same intervals.

    Attributes:
      values: model to metric to figure (`metrics.metrics`).

    Raises:
      ValueError: arrays that do not fit the task or one another.
    """

    def __init__(
        self,
        task: Any,
        labels: ArrayLike,
        models: Mapping[str, ArrayLike],
        groups: Sequence[Hashable] | NDArray[Any] | None = None,
        *,
        thresholds: Mapping[str, float] | None = None,
        shares: Mapping[str, ArrayLike] | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        kind, limits = kind_of(task), thresholds or {}
        self.values = {name: metrics(task, labels, scores, groups, limits.get(name)) for name, scores in models.items()}
        checked = {name: check_scores(kind, scores, name) for name, scores in models.items()}
        labels = np.asarray(labels, np.float64)
        rows = len(labels)
        self._shares = {name: np.asarray(share, np.float64) for name, share in (shares or {}).items()}
        self._samples: dict[str, dict[str, Floats]] = {name: {} for name in models}
        self._share_samples: dict[str, Floats] = {}
        if not resamples:
            return

        scale = scale_of(task)
        parts = [CountedMetrics(kind, labels, scores, scale, limits.get(name)) for name, scores in checked.items()]
        codes = np.arange(rows) if groups is None else group_codes(groups, rows)
        ndcg = {} if groups is None or kind == "multiclass" else self._group_measures(kind, labels, checked, codes)
        chunks: dict[str, list[dict[str, Floats]]] = {name: [] for name in models}
        share_chunks: dict[str, list[Floats]] = {name: [] for name in self._shares}
        units, generator = int(codes.max()) + 1, np.random.default_rng(seed)
        step = max(1, CELLS // max(rows, units))
        for start in range(0, resamples, step):
            drawn = draw_counts(generator, min(step, resamples - start), units)
            counts = drawn if groups is None else drawn[:, codes]
            for name, part in zip(models, parts, strict=True):
                figures = part.measure(counts)
                if name in ndcg:
                    figures |= {key: measure(drawn) for key, measure in ndcg[name].items()}
                chunks[name].append(figures)
            for name, share in self._shares.items():
                share_chunks[name].append(_mean_of(share)(counts))
        for name, pieces in chunks.items():
            self._samples[name] = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
        self._share_samples = {name: np.concatenate(pieces) for name, pieces in share_chunks.items()}

    @staticmethod
    def _group_measures(
        kind: str, labels: Floats, checked: Mapping[str, Floats], codes: NDArray[np.int64]
    ) -> dict[str, dict[str, Measure]]:
        """Measures of every model whose counts are those of groups, `[resamples, groups]`."""
        measures = {}
        for name, scores in checked.items():
            ndcg = group_ndcg(labels, scores, codes)
            ranked = np.isfinite(ndcg)
            measures[name] = {
                "ndcg10": _ratio_of(np.where(ranked, ndcg, 0), ranked.astype(np.float64)),
                "ndcg10_all": _mean_of(every_group_ndcg(ndcg, labels, codes)),
            }
            if kind == "graded":
                measures[name]["pair_order"] = _ratio_of(*pair_orders(labels, scores, codes))
        return measures

    def samples(self, model: str, metric: str) -> Floats:
        """Returns a metric of one model in every resample, `[resamples]`; the same resamples for all models."""
        return self._samples[model][metric]

    def interval(self, model: str, metric: str) -> Interval:
        """Returns a metric of one model."""
        return _interval(self.values[model][metric], self._samples[model].get(metric))

    def intervals(self, model: str) -> dict[str, Interval]:
        """Returns all metrics of one model."""
        return {metric: self.interval(model, metric) for metric in self.values[model]}

    def share(self, name: str) -> Interval:
        """Returns the mean of one of `shares`."""
        return _interval(float(self._shares[name].mean()), self._share_samples.get(name))

    def ratio(self, top: str, bottom: str, metric: str = "accuracy") -> Interval:
        """Returns one model's figure over another's: the retention of a student over its teacher."""
        value = retention(self.values[bottom][metric], self.values[top][metric])
        over, under = self._samples[top].get(metric), self._samples[bottom].get(metric)
        return _interval(value, None if over is None or under is None else _divide(over, under))

    def difference(self, left: str, right: str, metric: str = "accuracy") -> Interval:
        """Returns one model's figure less another's."""
        first, second = self.values[left][metric], self.values[right][metric]
        value = None if first is None or second is None else first - second
        minuend, subtrahend = self._samples[left].get(metric), self._samples[right].get(metric)
        return _interval(value, None if minuend is None or subtrahend is None else minuend - subtrahend)

    def share_of_gap(self, model: str, base: str, goal: str, metric: str) -> Interval:
        """Returns how far one model is on the way from one figure to another: (model - base) / (goal - base).

        There is none where the goal is no better than the base.
        """
        sign = -1.0 if metric in LESS_IS_BETTER else 1.0
        names = (model, base, goal)
        own, low, high = (
            np.nan if value is None else sign * value for value in (self.values[n][metric] for n in names)
        )
        if not high > low or not np.isfinite(own):
            return _interval(None, None)
        samples = [self._samples[name][metric] for name in names if metric in self._samples[name]]
        shares = None
        if len(samples) == 3:
            shares = _divide(sign * (samples[0] - samples[1]), sign * (samples[2] - samples[1]))
        return _interval((own - low) / (high - low), shares)


def _ratio_of(tops: Floats, bottoms: Floats) -> Measure:
    return lambda counts: _divide(counts @ tops, counts @ bottoms)


def draw_counts(generator: np.random.Generator, resamples: int, units: int) -> Floats:
    """Draws units with replacement, as many as there are; returns how often each came, `[resamples, units]`."""
    picks = generator.integers(0, units, (resamples, units)) + units * np.arange(resamples)[:, None]
    return np.bincount(picks.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def percentile_interval(samples: Floats) -> list[float] | None:
    """Returns the 95% percentile interval `[low, high]` of resampled figures `[resamples]`.

    Returns None where a figure is undefined (NaN) in half of the resamples or more.
    """
    defined = samples[np.isfinite(samples)]
    if 2 * len(defined) <= len(samples):
        return None
    low, high = np.percentile(defined, (2.5, 97.5))
    return [float(low), float(high)]


def _interval(value: float | None, samples: Floats | None) -> Interval:
    return {"value": value, "ci95": None if value is None or samples is None else percentile_interval(samples)}
