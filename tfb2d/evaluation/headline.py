"""The headline measure of a task, a baseline without a model, and the threshold chosen on validation.

Where most labels are positive, always deciding "yes" has a high accuracy. So accuracy leads for balanced classes alone:

* one text, two classes or more, balanced: accuracy;
* pairs, or one text with two unbalanced classes: ROC-AUC;
* more classes, unbalanced: macro F1;
* graded labels: Spearman's rank correlation.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.metrics import THRESHOLD, Floats, check_labels, check_scores, kind_of

BALANCED = 0.8  # least share of the rarest class, relative to equal classes: 40% of two


def headline_measure(task: Any, labels: ArrayLike, *, pairs: bool) -> str:
    """Chooses the headline measure of a task; returns its key, as in `metrics`.

    Args:
      task: a Task, or a kind.
      labels: `[n]`, of the rows that are reported on.
      pairs: whether a row is a query and a title.
    """
    kind, values = kind_of(task), np.asarray(labels)
    if kind == "graded":
        return "spearman"
    shares = np.unique(values, return_counts=True)[1] / len(values)
    if len(shares) < 2:
        return "accuracy"  # of rows of one class, nothing else exists
    if kind == "binary" and pairs:
        return "roc_auc"
    classes = max(2, len(getattr(task, "classes", ())) or len(shares)) if kind == "multiclass" else 2
    balanced = len(shares) == classes and shares.min() * classes >= BALANCED
    return "accuracy" if balanced else "macro_f1" if kind == "multiclass" else "roc_auc"


def constant_scores(task: Any, labels: ArrayLike, classes: int = 1) -> Floats:
    """Returns the same score for every row: the mean label, or the share of every class.

    Such scores decide for the majority class. A ranking by them has the NDCG of random order, as equal scores share gains.

    Args:
      task: a Task, or a kind.
      labels: `[n]`.
      classes: of a multi-class task.

    Returns:
      `[n]`, or `[n, classes]`.
    """
    values = np.asarray(labels, np.float64)
    if kind_of(task) == "multiclass":
        return np.tile(np.bincount(values.astype(np.int64), minlength=classes) / len(values), (len(values), 1))
    return np.full(len(values), values.mean())


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the threshold with the highest F1 on these rows, the lowest of several.

    Returns `metrics.THRESHOLD` where all labels are the same.

    Args:
      labels: `[n]`, 0 or 1, of the validation split.
      scores: probabilities `[n]`.
    """
    from sklearn.metrics import precision_recall_curve

    if len(np.unique(labels)) < 2:
        return THRESHOLD
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f1[:-1]))])


def threshold_figures(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Returns `{"threshold", "f1", "precision", "recall"}` of deciding "yes" from a threshold on; 0 without a "yes".

    Args:
      labels: `[n]`, 0 or 1, of the test split.
      scores: probabilities `[n]`.
      threshold: chosen on other rows.
    """
    from sklearn.metrics import precision_recall_fscore_support

    checked = check_scores("binary", scores)
    yes = checked >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        check_labels("binary", labels, checked), yes, average="binary", zero_division=0
    )
    return {"threshold": threshold, "f1": float(f1), "precision": float(precision), "recall": float(recall)}
