"""Score drift: histograms that can be added, and the population stability index (PSI) between them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

EDGE = 12.0  # log-odds are clipped to it
STEP = 0.05
FINE = round(2 * EDGE / STEP)  # bins of a histogram
BANDS = (0.1, 0.25)  # of the PSI: stable, moved, another distribution
COARSE = 10


def log_odds(scores: ArrayLike) -> Floats:
    """Returns logits of probabilities, kept within +-EDGE."""
    inside = np.clip(np.asarray(scores, np.float64), 1e-9, 1 - 1e-9)
    return np.clip(np.log(inside) - np.log1p(-inside), -EDGE, EDGE)


def histogram(scores: ArrayLike) -> Counts:
    """Returns counts of probabilities by their log-odds, `[FINE]`; histograms of parts add up to that of the whole."""
    position = ((log_odds(scores) + EDGE) / STEP).astype(np.int64)
    return np.bincount(np.minimum(position, FINE - 1), minlength=FINE).astype(np.int64)


def quantiles(counts: Counts, shares: ArrayLike) -> Floats:
    """Returns the quantiles of a histogram at these shares, to half a bin; NaN of an empty histogram."""
    if not counts.sum():
        return np.full(np.shape(shares), np.nan)
    position = np.searchsorted(np.cumsum(counts), np.asarray(shares) * counts.sum())
    middle = (np.minimum(position, FINE - 1) + 0.5) * STEP - EDGE
    return np.asarray(expit(middle), np.float64)


def tenths(reference: Counts) -> NDArray[np.int64]:
    """Returns the coarse bin of each fine bin, `[FINE]`: up to ten, with about a tenth of the reference's rows each."""
    before = np.cumsum(reference) - reference / 2
    position = np.floor(COARSE * before / max(reference.sum(), 1)).astype(np.int64).clip(0, COARSE - 1)
    return np.unique(position, return_inverse=True)[1]


def psi(reference: ArrayLike, counts: ArrayLike, bins: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Returns the population stability index of two histograms, and its mean and 95% point without any drift.

    PSI is the sum of (q - p) ln(q / p) over the bins. Without drift, n rows against m give about a chi-square of bins - 1
    degrees of freedom times 1/n + 1/m (Yurdakul, Statistical properties of PSI, 2018). Rows of one ranking resemble each
    other, so their PSI without drift is larger.

    Both histograms are `[bins]`; `bins` is the coarse bin of each bin, None keeps them. Returns `{"psi", "chance",
    "chance95"}`; values are None where one side has no rows.
    """
    from scipy.stats import chi2

    bins = np.arange(np.size(reference)) if bins is None else bins
    p, q = (np.bincount(bins, np.asarray(side, np.float64)) for side in (reference, counts))
    n, m = p.sum(), q.sum()
    if not (n and m):
        return {"psi": None, "chance": None, "chance95": None}
    size = len(p)
    p, q = ((p + 0.5) / (n + size / 2), (q + 0.5) / (m + size / 2))  # half a row more: no share is 0
    noise, freedom = 1 / n + 1 / m, max(size - 1, 1)
    return {
        "psi": float(((q - p) * np.log(q / p)).sum()),
        "chance": float(noise * freedom),
        "chance95": float(noise * chi2.ppf(0.95, freedom)),
    }


def band(value: float | None) -> str:
    """Returns the usual reading of a PSI: "stable", "moved" or "another distribution"."""
    if value is None:
        return "unknown"
    return "stable" if value < BANDS[0] else "moved" if value < BANDS[1] else "another distribution"
