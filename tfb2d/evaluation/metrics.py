"""Metrics of a model's scores against labels, and the agreement of two models.

Scores are probabilities: `[n]` of the positive side for binary and graded tasks, `[n, k]` for multi-class ones. Labels
are `[n]`: 0 or 1, a grade in [0, 1], or a class's index. A grade of 0.5 or more counts as positive where a metric has
two sides. An undefined figure (the ROC-AUC of rows of one class) is None, never NaN, so it is `null` in JSON.
"""

import warnings
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

KINDS = ("binary", "graded", "multiclass")
THRESHOLD = 0.5  # a score or grade from here on is a "yes"
BINS = 15  # equal-width bins of the calibration error, as Guo et al. 2017 (arXiv 1706.04599) has them
EPSILON = 1e-7  # the least probability of the log loss: about the step of a float32 below 1
PAIRS = 2**20  # pairs of rows compared at once
LESS_IS_BETTER = ("rmse", "ece", "log_loss")  # of the metrics
TOP = 10  # ranks that NDCG looks at


def kind_of(task: Any) -> str:
    """Returns the kind of a task: of anything with a `kind`, or of the kind's own name.

    Raises:
      ValueError: the kind is not among `KINDS`.
    """
    kind = getattr(task, "kind", task)
    if kind not in KINDS:
        raise ValueError(f"the task's kind is {kind!r}; there are {', '.join(KINDS)}")
    return str(kind)


def check_scores(kind: str, scores: ArrayLike, name: str = "scores") -> Floats:
    """Checks scores; returns them as float64, `[n]` or, of a multi-class task, `[n, k]`.

    Raises:
      ValueError: wrong shape, no rows, or a row that is no probability; the message counts them and names the first.
    """
    array = np.asarray(scores)
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise ValueError(f"{name} hold {array.dtype}; they must be numbers")
    array = array.astype(np.float64)
    expected, rank = ("[rows, classes]", 2) if kind == "multiclass" else ("[rows]", 1)
    if array.ndim != rank or 0 in array.shape:
        raise ValueError(f"{name} have the shape {list(array.shape)}; a {kind} task takes {expected}, none of them 0")
    wrong = ~(np.isfinite(array) & (array >= 0) & (array <= 1))
    if rank == 2:
        wrong = wrong.any(axis=1) | (np.abs(array.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"{name}: {wrong.sum()} rows are no probabilities, the first is row {first}: {array[first]}")
    return array


def check_labels(kind: str, labels: ArrayLike, scores: Floats) -> Floats:
    """Checks labels; returns them as float64 `[n]`, fit for the (checked) scores.

    Raises:
      ValueError: another number of rows than the scores have, or a label outside the task's values.
    """
    array = np.asarray(labels)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise ValueError(f"labels hold {array.dtype}; they must be numbers")
    array = array.astype(np.float64)
    if array.shape != (len(scores),):
        raise ValueError(f"labels have the shape {list(array.shape)}; the scores have {len(scores)} rows")
    if kind == "binary":
        wrong, expected = ~np.isin(array, (0, 1)), "0 or 1"
    elif kind == "graded":
        wrong, expected = ~((array >= 0) & (array <= 1)), "in [0, 1]"
    else:
        wrong, expected = ~np.isin(array, np.arange(scores.shape[1])), f"a class from 0 to {scores.shape[1] - 1}"
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"labels: {wrong.sum()} rows are not {expected}, the first is row {first}: {array[first]}")
    return array


def group_codes(groups: Sequence[Hashable] | NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Returns the index of each row's group, `[n]`; groups count from 0 in the order of first appearance.

    Raises:
      ValueError: another number of groups than rows.
    """
    values = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if len(values) != rows:
        raise ValueError(f"there are {len(values)} group values and {rows} rows")
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)


def decisions(scores: Floats) -> NDArray[np.int64]:
    """Returns what the scores decide, `[n]`: 1 from the threshold on, or the likeliest class."""
    return np.argmax(scores, axis=1) if scores.ndim == 2 else (scores >= THRESHOLD).astype(np.int64)


def hits(kind: str, labels: Floats, scores: Floats) -> Bools:
    """Says whether the scores decide as the labels do, `[n]`."""
    return decisions(scores) == (labels if kind == "multiclass" else labels >= THRESHOLD)


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


def group_ndcg(labels: Floats, scores: Floats, groups: NDArray[np.int64], top: int = TOP) -> Floats:
    """Returns NDCG of every group, `[groups]`, with the label as the gain.

    Rows with equal scores share the gain of their ranks (McSherry and Najork 2008, as in sklearn.metrics.ndcg_score). So
    constant scores get the mean over all orders. NaN where there is nothing to rank: one row, or no row with a gain.
    """
    sizes = np.bincount(groups)
    firsts = np.cumsum(sizes) - sizes
    order = np.lexsort((-scores, groups))
    sorted_groups, sorted_scores = groups[order], scores[order]
    ranks = np.arange(len(order)) - firsts[sorted_groups]
    discounts = np.where(ranks < top, 1 / np.log2(ranks + 2), 0)
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_groups[1:] != sorted_groups[:-1]) | (sorted_scores[1:] != sorted_scores[:-1])
    ties = np.flatnonzero(new)
    mean_gains = np.add.reduceat(labels[order], ties) / np.diff(np.append(ties, len(order)))
    gained = np.bincount(sorted_groups[ties], mean_gains * np.add.reduceat(discounts, ties), len(sizes))
    best = np.bincount(sorted_groups, labels[np.lexsort((-labels, groups))] * discounts, len(sizes))
    ranked = (best > 0) & (sizes > 1)
    return np.divide(gained, best, out=np.full(len(sizes), np.nan), where=ranked)


def every_group_ndcg(ndcg: Floats, labels: Floats, groups: NDArray[np.int64]) -> Floats:
    """Fills in the groups that `group_ndcg` leaves out, as trec_eval counts them.

    A group without a gain has an NDCG of 0. A single row with a gain has 1, since any order of it is the best one.
    scikit-learn's `ndcg_score` also gives 0 without a gain; it refuses a single row.

    Args:
      ndcg: `[groups]`, of `group_ndcg`.
      labels: `[n]`.
      groups: `[n]`, of `group_codes`.

    Returns:
      `[groups]` without NaN.
    """
    gains = np.bincount(groups, labels, len(ndcg))
    return np.where(np.isfinite(ndcg), ndcg, (gains > 0).astype(np.float64))


def ndcg_groups(task: Any, labels: ArrayLike, groups: Sequence[Hashable] | NDArray[Any]) -> dict[str, int] | None:
    """Counts the groups of the rows, and those that `ndcg10` is the mean of.

    Args:
      task: a Task, or a kind.
      labels: `[n]`.
      groups: `[n]`.

    Returns:
      `{"all": groups, "counted": groups of two rows or more with a label above 0}`; None of a multi-class task.
    """
    if kind_of(task) == "multiclass":
        return None
    codes = group_codes(groups, len(np.asarray(labels)))
    gains = np.bincount(codes, np.asarray(labels, np.float64))
    return {"all": len(gains), "counted": int(((gains > 0) & (np.bincount(codes) > 1)).sum())}


def pair_orders(labels: Floats, scores: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Counts pairs of rows in the order of their labels, for every group; equal scores count half.

    A group's ratio is `(1 + D) / 2` of Somers' D, as `scipy.stats.somersd(labels, scores)` gives it.

    Returns:
      Pairs in the right order, and pairs with different labels, each `[groups]`.
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


def agreement(teacher_scores: ArrayLike, student_scores: ArrayLike) -> Bools:
    """Says whether teacher and student decide alike, `[n]`.

    Raises:
      ValueError: no probabilities, or of different shapes.
    """
    kind = "multiclass" if np.ndim(teacher_scores) == 2 else "binary"
    teacher = check_scores(kind, teacher_scores, "teacher_scores")
    student = check_scores(kind, student_scores, "student_scores")
    if teacher.shape != student.shape:
        raise ValueError(f"teacher_scores are {list(teacher.shape)}, student_scores {list(student.shape)}")
    return decisions(teacher) == decisions(student)


def distances(left: Floats, right: Floats) -> Floats:
    """Returns how far scores are apart, `[n]`: the total variation of distributions `[n, k]`."""
    gaps = np.abs(left - right)
    return gaps if gaps.ndim == 1 else gaps.sum(axis=1) / 2


def retention(teacher: float | None, student: float | None) -> float | None:
    """Returns the share of the teacher's figure that the student keeps; None where the teacher has none."""
    return student / teacher if teacher and student is not None else None
