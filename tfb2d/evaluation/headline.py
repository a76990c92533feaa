"""The headline measure of a task, a baseline without a model, and the threshold chosen on validation.

The measure is chosen once, by the validation split's labels (`Headline`). Teachers and students keep the weights that are
best by it on validation, a sweep chooses by it, and the report's retention and gain are of it.

Where most labels are positive, always deciding "yes" has a high accuracy. So accuracy leads for balanced classes alone:

* one text, two classes or more, balanced: accuracy;
* pairs, or one text with two unbalanced classes: ROC-AUC;
* more classes, unbalanced: macro F1;
* graded labels: Spearman's rank correlation.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.metrics import LESS_IS_BETTER, metrics, threshold_figures
from tfb2d.evaluation.models import covered
from tfb2d.evaluation.scores import THRESHOLD, Floats, kind_of
from tfb2d.outcomes import DecisionNumbers
from tfb2d.probability import probabilities

if TYPE_CHECKING:
    import pyarrow as pa

BY_GROUP = ("ndcg10", "ndcg10_all", "pair_order")  # measures within the rows of a query
BALANCED = 0.8  # least share of the rarest class, relative to equal classes: 40% of two


@dataclass(frozen=True)
class Headline:
    """Compares evaluations on the validation split by the headline measure."""

    task: Any  # a Task
    measure: str  # its key, as in `metrics`
    labels: Floats  # `[n]`, of the validation split
    groups: Sequence[Hashable] | None = None  # `[n]`, rows of the same query; None without

    @property
    def name(self) -> str:
        """Returns what the measure is called in a training's history."""
        return f"valid_{self.measure}"

    def figures(self, logits: ArrayLike) -> dict[str, float]:
        """Returns `{name: figure}` of logits `[n, k]`; nothing where the measure is undefined.

        F1 is that of the best threshold. Logits are turned into probabilities as they are, without calibration.
        """
        scores = probabilities(np.asarray(logits, np.float64))
        if not np.isfinite(scores).all():
            return {}
        if self.measure == "f1":
            threshold = best_threshold(self.labels, scores)
            figure: float | None = threshold_figures(self.labels, scores, threshold)["f1"]
        else:
            groups = self.groups if self.measure in BY_GROUP else None
            figure = metrics(self.task, self.labels, scores, groups)[self.measure]
        return {} if figure is None else {self.name: figure}

    def order(self, figures: Mapping[str, float]) -> tuple[float, float]:
        """Returns what orders evaluations, the greater the better; of equal figures the lower `valid_loss` is better."""
        figure, loss = figures.get(self.name), figures["valid_loss"]
        if figure is None:
            return -math.inf, -loss
        return (-figure if self.measure in LESS_IS_BETTER else figure), -loss


def headline_on(task: Any, valid: "pa.Table", measure: str = "") -> Headline:
    """Returns the headline measure of a run, with the validation split that it is computed on.

    `measure` is the user's choice (`report.headline`); "" takes the task's own, by the labels of the validation split.
    """
    labels = valid.column("label").to_numpy().astype(np.float64)
    own = measure or headline_measure(task, labels, pairs=len(task.fields) == 2)
    return Headline(task, own, labels, groups_of(valid, task))


def groups_of(split: "pa.Table", task: Any) -> list[str] | None:
    """Returns the group of each row of a split: its `group`, or the query of a pair; None of single texts without groups.

    NDCG is computed within groups, and the bootstrap draws groups whole.
    """
    if "group" in split.column_names:
        return split.column("group").to_pylist()
    return split.column(task.fields[0]).to_pylist() if len(task.fields) == 2 else None


def headline_measure(task: Any, labels: ArrayLike, *, pairs: bool) -> str:
    """Returns the key of a task's headline measure, as in `metrics`, by the labels `[n]` of the rows that are reported on.

    `task` is a Task, or a kind; `pairs` says whether a row is a query and a title.
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
    """Returns the same score for every row: the mean label, `[n]`, or the share of every class, `[n, classes]`.

    Such scores decide for the majority class. A ranking by them has the NDCG of random order, as equal scores share gains.
    """
    values = np.asarray(labels, np.float64)
    if kind_of(task) == "multiclass":
        return np.tile(np.bincount(values.astype(np.int64), minlength=classes) / len(values), (len(values), 1))
    return np.full(len(values), values.mean())


def decide(task: Any, labels: ArrayLike, scores: ArrayLike) -> DecisionNumbers | None:
    """Chooses the threshold of a binary task on the validation split; returns None of other tasks.

    Scores are calibrated probabilities `[n]`, as the model is served; labels `[n]` are 0 or 1.
    """
    if kind_of(task) != "binary":
        return None
    threshold = best_threshold(labels, scores)
    return DecisionNumbers(threshold, **threshold_figures(labels, scores, threshold), rows=len(np.asarray(labels)))


def chosen_threshold(task: Any, labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Returns the `best_threshold` of a binary task on the rows with a label and a score; None where there is none."""
    known = np.isfinite(np.asarray(labels)) & covered(scores)
    if kind_of(task) != "binary" or not known.any():
        return None
    return best_threshold(np.asarray(labels)[known], np.asarray(scores)[known])


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """Returns the threshold with the highest F1, the lowest of several; THRESHOLD where all labels are the same.

    Labels `[n]`, 0 or 1, and probabilities `[n]` are of the validation split.
    """
    from sklearn.metrics import precision_recall_curve

    if len(np.unique(labels)) < 2:
        return THRESHOLD
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f1[:-1]))])
