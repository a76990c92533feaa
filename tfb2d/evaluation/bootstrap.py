"""Bootstrap intervals of metrics: percentiles over resampled rows, or over resampled groups where there are groups.

A resample is a vector of counts: how often each row was drawn. Compared models share their resamples, so the interval of a
difference or ratio is that of the pair (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16).
Figures come as `[1 + resamples]`: that of the rows themselves first, and then that of each resample; NaN is undefined.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation.metrics import LESS_IS_BETTER, CountedMetrics, divide, figure_or_none, mean_of
from tfb2d.evaluation.ranking import group_codes
from tfb2d.evaluation.scores import Floats, check_labels, check_scores, kind_of

Interval = dict[str, Any]  # {"value": float or None, "ci95": [lowest, highest] or None}

CELLS = 2**21  # counts held at once: 16 MiB


def draws(units: int, resamples: int, seed: int, rows: int = 0) -> Iterator[Floats]:
    """Yields counts `[some, units]`: each unit once, and then how often each unit is drawn in every resample.

    A resample draws as many units as there are, with replacement. `rows` is how many numbers a resample becomes, if more.
    """
    yield np.ones((1, units))
    generator = np.random.default_rng(seed)
    step = max(1, CELLS // max(rows, units))
    for start in range(0, resamples, step):
        many = min(step, resamples - start)
        picks = generator.integers(0, units, (many, units)) + units * np.arange(many)[:, None]
        yield np.bincount(picks.ravel(), minlength=many * units).reshape(many, units).astype(np.float64)


def interval_of(figures: Floats) -> Interval:
    """Returns the value and the 95% percentile interval of figures `[1 + resamples]`.

    There is no interval where a figure is undefined in half of the resamples or more.
    """
    value, defined = figure_or_none(figures[0]), figures[1:][np.isfinite(figures[1:])]
    if value is None or 2 * len(defined) <= len(figures) - 1:
        return {"value": value, "ci95": None}
    return {"value": value, "ci95": np.percentile(defined, (2.5, 97.5)).tolist()}


class Bootstrap:
    """Computes metrics of models that scored the same rows, and 95% intervals of them, their ratios and differences.

    Args:
      models: name to scores, `[n]` or `[n, k]`.
      groups: `[n]`; rows of a group are drawn together. With groups there are `ndcg10` and `ndcg10_all`, except of
        multi-class tasks.
      thresholds: of binary tasks, model to the threshold of its `f1`, `precision` and `recall`; a model may have none.
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
        thresholds: Mapping[str, float | None] | None = None,
        shares: Mapping[str, ArrayLike] | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        kind, rows = kind_of(task), len(np.asarray(labels))
        codes = None if groups is None else group_codes(groups, rows)
        parts = {}
        for name, given in models.items():
            scores = check_scores(kind, given, name)
            checked = check_labels(kind, labels, scores)
            parts[name] = CountedMetrics(task, checked, scores, codes, (thresholds or {}).get(name))
        means = {name: mean_of(np.asarray(share, np.float64)) for name, share in (shares or {}).items()}
        figures: dict[str, list[dict[str, Floats]]] = {name: [] for name in parts}
        share_figures: dict[str, list[Floats]] = {name: [] for name in means}
        for drawn in draws(rows if codes is None else int(codes.max()) + 1, resamples, seed, rows):
            counts = drawn if codes is None else drawn[:, codes]
            for name, part in parts.items():
                figures[name].append(part.measure(counts, None if codes is None else drawn))
            for name, mean in means.items():
                share_figures[name].append(mean(counts))
        self._figures = {
            name: {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in chunks[0]}
            for name, chunks in figures.items()
        }
        self._shares = {name: np.concatenate(chunks) for name, chunks in share_figures.items()}
        self.values = {
            name: {metric: figure_or_none(values[0]) for metric, values in of_model.items()}
            for name, of_model in self._figures.items()
        }

    def figures(self, model: str, metric: str) -> Floats:
        """Returns a metric of one model, `[1 + resamples]`; the same resamples for all models."""
        return self._figures[model][metric]

    def interval(self, model: str, metric: str) -> Interval:
        """Returns a metric of one model."""
        return interval_of(self._figures[model][metric])

    def intervals(self, model: str) -> dict[str, Interval]:
        """Returns all metrics of one model."""
        return {metric: interval_of(figures) for metric, figures in self._figures[model].items()}

    def share(self, name: str) -> Interval:
        """Returns the mean of one of `shares`."""
        return interval_of(self._shares[name])

    def ratio(self, top: str, bottom: str, metric: str = "accuracy") -> Interval:
        """Returns one model's figure over another's: the retention of a student over its teacher."""
        return interval_of(divide(self.figures(top, metric), self.figures(bottom, metric)))

    def difference(self, left: str, right: str, metric: str = "accuracy") -> Interval:
        """Returns one model's figure less another's."""
        return interval_of(self.figures(left, metric) - self.figures(right, metric))

    def share_of_gap(self, model: str, base: str, goal: str, metric: str) -> Interval:
        """Returns how far one model is on the way from one figure to another: (model - base) / (goal - base).

        There is none where the goal is no better than the base.
        """
        sign = -1.0 if metric in LESS_IS_BETTER else 1.0
        own, low, high = (sign * self.figures(name, metric) for name in (model, base, goal))
        return interval_of(divide(own - low, high - low))
