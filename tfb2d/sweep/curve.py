"""The learning curve: a power law of error against rows, and the gain expected from ten times the rows.

error(n) = floor + scale * n^-rate (Hestness et al. 2017, arXiv 1712.00409; Rosenfeld et al. 2020, arXiv 1909.12673).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RATES = np.geomspace(0.03, 2.0, 120)
LEAST = 4  # sizes, for three parameters


@dataclass(frozen=True)
class Curve:
    """Holds the fitted curve of each resample: `floor`, `scale` and `rate`, each `[resamples]`."""

    floor: Floats
    scale: Floats
    rate: Floats

    def __call__(self, rows: Floats | Sequence[float]) -> Floats:
        """Returns the errors at numbers of rows `[sizes]`: `[resamples, sizes]`."""
        n = np.asarray(rows, np.float64)[None]
        return self.floor[:, None] + self.scale[:, None] * n ** -self.rate[:, None]


def fit(rows: Sequence[float] | Floats, errors: Floats) -> Curve:
    """Fits curves by least squares to errors `[resamples, sizes]` at numbers of rows `[sizes]`, above 0.

    For each rate of a grid it solves for floor and scale, neither below 0. It then takes the best rate. Raises
    ValueError for fewer than LEAST sizes.
    """
    if len(set(rows)) < LEAST:
        raise ValueError(f"{len(set(rows))} sizes; the curve needs {LEAST}")
    n = np.asarray(rows, np.float64)
    shapes = (n / n.max())[None] ** -RATES[:, None]  # [rates, sizes]; scaled to stay near 1
    centred = shapes - shapes.mean(1, keepdims=True)
    slope = np.einsum("rs,bs->br", centred, errors - errors.mean(1, keepdims=True)) / (centred**2).sum(1)
    slope = np.maximum(slope, 0)
    floor = errors.mean(1, keepdims=True) - slope * shapes.mean(1)
    through = np.einsum("rs,bs->br", shapes, errors) / (shapes**2).sum(1)  # with the floor at 0
    slope, floor = np.where(floor < 0, np.maximum(through, 0), slope), np.maximum(floor, 0)
    residual = errors[:, None] - floor[..., None] - slope[..., None] * shapes[None]
    best = (residual**2).sum(2).argmin(1)
    at = np.arange(len(errors))
    rate = RATES[best]
    return Curve(floor[at, best], slope[at, best] * n.max() ** rate, rate)


def learning_curve(
    rows: Sequence[float], errors: Sequence[Sequence[float]], samples: Sequence[Floats]
) -> dict[str, Any]:
    """Fits the curve of errors against `rows` learnt from, labelled ones included, with intervals.

    The intervals come from resampling test rows and seeds. They assume that the law holds up to ten times the rows.
    `errors` has each seed's, for each size. `samples` has errors over resampled test rows, `[seeds, resamples]`, for
    each size; the resamples are the same for all sizes.

    Returns:
      `{"law", "floor", "rate", "scale", "at", "error", "times10": {"error", "gain"}, "band"}`. `at` is the largest number
      of rows. `band` has rows, error and interval along the curve. The other figures are `{"value", "ci95"}`.

    Raises:
      ValueError: fewer than LEAST sizes, or an error that is not finite.
    """
    if not all(np.isfinite(values).all() for values in errors):
        raise ValueError("the split has no such figure")
    rng = np.random.default_rng(0)
    n = np.asarray(rows, np.float64)
    best = fit(n, np.array([[np.mean(values) for values in errors]]))
    drawn = []
    for values in samples:  # seeds are drawn anew for every resample, as rows are
        seeds, resamples = values.shape
        picks = rng.integers(0, seeds, (resamples, seeds))
        drawn.append(values[picks, np.arange(resamples)[:, None]].mean(1))
    resampled = np.stack(drawn, 1)
    defined = resampled[np.isfinite(resampled).all(1)]  # resampled rows of one class have no ROC-AUC
    spread = fit(n, defined) if 2 * len(defined) > len(resampled) else None

    def with_interval(of: Any) -> dict[str, Any]:
        ci95 = None if spread is None else [float(v) for v in np.percentile(of(spread), (2.5, 97.5))]
        return {"value": float(of(best)[0]), "ci95": ci95}

    top = float(n.max())
    grid = np.geomspace(n.min(), 10 * top, 60)
    band = {"rows": grid.tolist(), "error": best(grid)[0].tolist()}
    if spread is not None:
        band["low"], band["high"] = np.percentile(spread(grid), (2.5, 97.5), axis=0).tolist()
    return {
        "law": "error = floor + scale * rows^-rate",
        "floor": with_interval(lambda c: c.floor),
        "rate": with_interval(lambda c: c.rate),
        "scale": with_interval(lambda c: c.scale),
        "at": top,
        "error": with_interval(lambda c: c([top])[:, 0]),
        "times10": {
            "error": with_interval(lambda c: c([10 * top])[:, 0]),
            "gain": with_interval(lambda c: (c([top]) - c([10 * top]))[:, 0]),
        },
        "band": band,
    }
