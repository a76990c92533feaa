"""Calibration: a scale and a bias, learnt on validation rows, that turn logits into calibrated probabilities.

Binary and graded tasks: sigmoid(a z + b) (Platt 1999). Multi-class: softmax(a z + b), one scale (the inverse of a
temperature) and a bias a class (Guo et al. 2017, arXiv 1706.04599, section 4.2: between temperature and vector
scaling). The scale stays above 0, so calibration never changes a ranking of single scores.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.scores import Floats, kind_of
from tfb2d.outcomes import Calibration


def calibrate(task: Any, labels: ArrayLike, logits: ArrayLike) -> Calibration:
    """Learns the calibration with the least log loss on validation rows.

    A Gaussian prior of unit width on the scale's logarithm and on every bias, worth about one row, keeps them finite
    where the logits separate the classes, or where a class is missing.

    Labels, `[n]`, are 0 or 1, grades in [0, 1], or classes' indices; logits are `[n]` or `[n, 1]`, multi-class `[n,
    k]`. Returns the identity, with a note, where all labels are the same or there is no row. Raises ValueError for
    shapes that do not fit, or numbers that are not finite.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, softmax

    kind = kind_of(task)
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if kind != "multiclass" and logits.shape[1:] == (1,):
        logits = logits[:, 0]
    if logits.ndim != (2 if kind == "multiclass" else 1) or labels.shape != logits.shape[:1]:
        raise ValueError(f"a {kind} task has labels {list(labels.shape)} and logits {list(logits.shape)}")
    if not (np.isfinite(logits).all() and np.isfinite(labels).all()):
        raise ValueError("labels and logits must be finite; a NaN label marks a row without one")
    classes = logits.shape[1] if kind == "multiclass" else 1
    identity = (0.0,) * classes
    if len(labels) == 0 or labels.min() == labels.max():
        what = f"all {len(labels)} labels are {labels[0]:g}" if len(labels) else "there is no row"
        return Calibration(1.0, identity, f"validation: {what}; scores are left as they are")
    targets = np.eye(classes)[labels.astype(np.int64)] if kind == "multiclass" else labels

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scale, shifts = np.exp(parameters[0]), parameters[1:]
        values = scale * logits + shifts
        gap = (softmax(values, axis=1) if kind == "multiclass" else expit(values)) - targets
        gradient = np.append(np.sum(gap * logits) * scale, gap.reshape(-1, classes).sum(axis=0)) + parameters
        return float(_cross_entropy(values, targets) + parameters @ parameters / 2), gradient

    solution = minimize(
        loss, np.zeros(1 + classes), jac=True, method="L-BFGS-B", bounds=[(-10, 10)] + [(-50, 50)] * classes
    )
    return Calibration(float(np.exp(solution.x[0])), tuple(map(float, solution.x[1:])))


def calibrate_known(task: Any, labels: ArrayLike, logits: ArrayLike) -> Calibration:
    """Learns the calibration, as `calibrate` does, from the rows that have both a label and a logit; others are NaN."""
    labels, logits = np.asarray(labels), np.asarray(logits)
    known = np.isfinite(labels) & np.isfinite(logits.reshape(len(labels), -1)).all(1)
    return calibrate(task, labels[known], logits[known])


def _cross_entropy(values: Floats, targets: Floats) -> float:
    """Returns the cross-entropy of all rows together, in nats; it takes logits, so nothing saturates."""
    if values.ndim == 1:
        return float(np.sum(np.logaddexp(0, values) - targets * values))
    from scipy.special import log_softmax

    return float(-np.sum(targets * log_softmax(values, axis=1)))
