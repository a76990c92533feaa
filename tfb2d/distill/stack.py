"""Stacking: several teachers' logits become one."""

import numpy as np

from tfb2d import probability
from tfb2d.config import ConfigError, DistillConfig
from tfb2d.outcomes import Stack


def fit_stack(config: DistillConfig, logits: np.ndarray, labels: np.ndarray | None) -> Stack:
    """Chooses the weights of `config.stack`; those of all but "logistic" sum to 1.

    "logistic" minimises the cross-entropy of the validation labels over positive weights and a bias. A small ridge holds
    them near the mean: teachers agree so much that free weights would fit noise.

    Validation logits are `[n, teachers, k]`; labels, `[n]`, lie within [0, 1] (k = 1) or are class indices. Raises
    ConfigError for "logistic" without validation rows that every teacher has scored.
    """
    teachers, k = logits.shape[1:]
    if config.stack == "mean":
        return Stack((1 / teachers,) * teachers, (0.0,) * k)
    if config.stack == "last":
        # The others' share is too small to be seen where the last has scored a row, and whole where it has not.
        weights = 1000.0 ** np.arange(1 - teachers, 1)
        return Stack(tuple(map(float, weights / weights.sum())), (0.0,) * k)
    if config.stack == "weighted":
        return Stack(tuple(weight / sum(config.weights) for weight in config.weights), (0.0,) * k)
    usable = np.isfinite(logits).all((1, 2)) if labels is not None else np.zeros(len(logits), bool)
    if labels is None or not usable.any():
        raise ConfigError(
            "distill.stack='logistic' is fitted on validation rows that every teacher scored; there are none"
        )

    from scipy.optimize import minimize

    z, targets = logits[usable].astype(np.float64), one_hot(labels[usable], k)
    start = np.concatenate([np.full(teachers, 1 / teachers), np.zeros(k)])

    def loss(p: np.ndarray) -> float:
        stacked = np.einsum("ntk,t->nk", z, p[:teachers]) + p[teachers:]
        if k == 1:
            value = np.mean(np.logaddexp(0, stacked) - targets * stacked)
        else:
            peak = stacked.max(1, keepdims=True)
            value = np.mean(np.log(np.exp(stacked - peak).sum(1)) + peak[:, 0] - (targets * stacked).sum(1))
        return float(value + 1e-3 * np.sum((p - start) ** 2))

    best = minimize(loss, start, method="L-BFGS-B", bounds=[(1e-6, None)] * teachers + [(None, None)] * k).x
    return Stack(tuple(map(float, best[:teachers])), tuple(map(float, best[teachers:])))


def one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    """Turns labels `[n]` into target probabilities `[n, k]` float32; a NaN label gives a NaN row."""
    if k == 1:
        return labels.astype(np.float32)[:, None]
    hot = (labels[:, None] == np.arange(k)).astype(np.float32)
    return np.where(np.isfinite(labels)[:, None], hot, np.nan).astype(np.float32)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Computes `sigmoid(z / T)` (k = 1) or `softmax(z / T)` of logits `[n, k]`, as float32 `[n, k]`."""
    values = probability.probabilities(logits.astype(np.float64) / temperature)
    return values.astype(np.float32).reshape(logits.shape)
