"""Metrics of a model's scores against labels; `scores.py` says which values both have.

A grade of 0.5 or more counts as positive where a metric has two sides. An undefined figure (the ROC-AUC of rows of one
class) is None, never NaN, so it is `null` in JSON.
"""

import warnings
from collections.abc import Hashable, Iterator, Sequence
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

BINS = 15  # equal-width bins of the calibration error, as Guo et al. 2017 (arXiv 1706.04599) has them
EPSILON = 1e-7  # the least probability of the log loss: about the step of a float32 below 1
LESS_IS_BETTER = ("rmse", "ece", "log_loss")  # of the metrics


def log_losses(kind: str, labels: Floats, scores: Floats) -> Floats:
    """Returns the cross-entropy of every row, `[n]`, in nats; a grade is a soft label."""
    if kind == "multiclass":
        return -np.log(np.maximum(scores[np.arange(len(labels)), labels.astype(np.int64)], EPSILON))
    inside = np.clip(scores, EPSILON, 1 - EPSILON)
    return -(labels * np.log(inside) + (1 - labels) * np.log1p(-inside))


def calibration_rows(kind: str, labels: Floats, scores: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Returns claimed probability, outcome and bin of every row, each `[n]`.

    A multi-class claim is the probability of the class decided for, its outcome whether that was right; otherwise the
    claim is the score and the outcome the label.
    """
    if kind == "multiclass":
        claims, outcomes = scores.max(axis=1), hits(kind, labels, scores).astype(np.float64)
    else:
        claims, outcomes = scores, labels
    return claims, outcomes, np.minimum((claims * BINS).astype(np.int64), BINS - 1)


def one_against_rest(kind: str, labels: Floats, scores: Floats) -> Iterator[tuple[Bools, Floats]]:
    """Yields the (positive `[n]`, score `[n]`) that a ranking metric averages over: one, or one for each class."""
    if kind == "multiclass":
        yield from ((labels == index, scores[:, index]) for index in range(scores.shape[1]))
    else:
        yield labels >= THRESHOLD, scores


def class_counts(labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Splits macro F1 into sums over rows.

    Returns:
      Twice the hits, and the labels and decisions together, of every row and class, each `[n, classes]`. A class's F1 is
      the sum of the first over the sum of the second.
    """
    known, decided = (np.eye(scores.shape[1])[each.astype(np.int64)] for each in (labels, decisions(scores)))
    return 2 * known * decided, known + decided


def _macro_f1(labels: Floats, scores: Floats) -> float:
    top, bottom = (each.sum(axis=0) for each in class_counts(labels, scores))
    return float(np.mean(top[bottom > 0] / bottom[bottom > 0]))


def _graded(labels: Floats, scores: Floats, scale: float) -> dict[str, float | None]:
    from scipy.stats import pearsonr, spearmanr

    figures: dict[str, float | None] = {}
    for name, correlation in (("spearman", spearmanr), ("pearson", pearsonr)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that do not vary have no correlation: None says it
            value = float(correlation(labels, scores).statistic) if len(labels) > 1 else np.nan
        figures[name] = value if np.isfinite(value) else None
    return figures | {"rmse": scale * float(np.sqrt(np.mean((labels - scores) ** 2)))}


def scale_of(task: Any) -> float:
    """Returns how long the user's scale of grades is, in the user's unit; 1 where it is not known."""
    low, high = getattr(task, "label_range", ()) or (0.0, 1.0)
    return float(high - low)


def expected_calibration_error(kind: str, labels: Floats, scores: Floats) -> float:
    """Returns the mean distance of claim and outcome over `BINS` equal-width bins, weighted by their rows."""
    claims, outcomes, bins = calibration_rows(kind, labels, scores)
    return float(np.abs(np.bincount(bins, claims - outcomes, BINS)).sum() / len(claims))


def decision_counts(labels: Floats, scores: Floats, threshold: float) -> tuple[Floats, Floats]:
    """Says which rows a threshold decides "yes" for, and which of them rightly, each `[n]`, 0 or 1."""
    yes = (scores >= threshold).astype(np.float64)
    return yes, yes * labels


def threshold_figures(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Returns `{"f1", "precision", "recall"}` of deciding "yes" from a threshold on; 0 where there is no "yes".

    Args:
      labels: `[n]`, 0 or 1.
      scores: probabilities `[n]`.
      threshold: chosen on other rows, otherwise the figures are too good.
    """
    checked = check_scores("binary", scores)
    positive = check_labels("binary", labels, checked)
    yes, right = decision_counts(positive, checked, threshold)
    hit, decided, known = right.sum(), yes.sum(), positive.sum()
    return {
        "f1": float(2 * hit / (decided + known)) if decided + known else 0.0,
        "precision": float(hit / decided) if decided else 0.0,
        "recall": float(hit / known) if known else 0.0,
    }


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
    from sklearn.metrics import average_precision_score, roc_auc_score

    kind = kind_of(task)
    scores = check_scores(kind, scores)
    labels = check_labels(kind, labels, scores)
    views = [view for view in one_against_rest(kind, labels, scores) if view[0].any() and not view[0].all()]
    figures: dict[str, float | None] = {
        "accuracy": float(hits(kind, labels, scores).mean()),
        "roc_auc": float(np.mean([roc_auc_score(*view) for view in views])) if views else None,
        "pr_auc": float(np.mean([average_precision_score(*view) for view in views])) if views else None,
    }
    if groups is not None and kind != "multiclass":
        codes = group_codes(groups, len(labels))
        ndcg = group_ndcg(labels, scores, codes)
        figures["ndcg10"] = float(np.nanmean(ndcg)) if np.isfinite(ndcg).any() else None
        figures["ndcg10_all"] = float(every_group_ndcg(ndcg, labels, codes).mean())
    if kind == "binary" and threshold is not None:
        figures |= threshold_figures(labels, scores, threshold)
    if kind == "multiclass":
        figures["macro_f1"] = _macro_f1(labels, scores)
    if kind == "graded":
        figures |= _graded(labels, scores, scale_of(task))
        if groups is not None:
            right, pairs = pair_orders(labels, scores, group_codes(groups, len(labels)))
            figures["pair_order"] = float(right.sum() / pairs.sum()) if pairs.sum() else None
    figures["ece"] = expected_calibration_error(kind, labels, scores)
    figures["log_loss"] = float(log_losses(kind, labels, scores).mean())
    return figures


def retention(teacher: float | None, student: float | None) -> float | None:
    """Returns the share of the teacher's figure that the student keeps; None where the teacher has none."""
    return student / teacher if teacher and student is not None else None
