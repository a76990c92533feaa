"""The results of a run, and the figures of `report.json` computed from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation.bootstrap import Bootstrap, Interval
from tfb2d.evaluation.doubts import doubts
from tfb2d.evaluation.headline import constant_scores, headline_measure, threshold_figures
from tfb2d.evaluation.metrics import Bools, agreement, check_labels, check_scores, kind_of, metrics, ndcg_groups

History = Sequence[Mapping[str, Any]]
HEADLINE = ("headline_retention", "headline_gain")  # of the headline measure: retention, and gain over labels alone
# Comparisons of the student: its accuracy, ROC-AUC and NDCG@10 over its teacher's, the share of rows decided as the
# teacher does, and its accuracy less that of the same student trained on labels alone.
COMPARED = ("retention", "auc_retention", "ndcg10_retention", "fidelity", "gain_over_labels_only")


@dataclass(frozen=True)
class RunResults:
    """Holds the test split as every model scored it, and facts about the run.

    Scores are calibrated probabilities, `[n]` or (multi-class) `[n, k]`. External scores of a teacher may lack rows, which
    are NaN. Such a teacher is measured, and the student compared with it, on the other rows.

    Raises:
      ValueError: arrays that do not fit the task or one another.
    """

    name: str  # the recipe's
    task: Any  # a Task: fields, kind, classes, to_json()
    columns: Sequence[Sequence[str]]  # test texts: one sequence of n texts a field
    labels: ArrayLike  # [n]: 0 or 1, a grade in [0, 1], or a class's index
    student: ArrayLike  # its scores, as the exported model gives them
    teacher: ArrayLike | None = None  # the only teacher's scores, or the stack's
    teachers: Mapping[str, ArrayLike] = field(default_factory=dict)  # each teacher's, where there are several
    labels_only: ArrayLike | None = None  # the same student trained without a teacher
    groups: Sequence[str] | None = None  # [n], rows of the same query or movie
    histories: Mapping[str, History] = field(default_factory=dict)  # model -> figures of each evaluation
    data: Mapping[str, Any] = field(default_factory=dict)  # the data stage's stats.json
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> time
    latency: Mapping[str, Any] = field(default_factory=dict)  # "teacher", "student", ... -> of latency.measure
    size_mb: Mapping[str, float] = field(default_factory=dict)  # the same names: size on disk, 10^6 bytes
    compression: Mapping[str, Any] = field(
        default_factory=dict
    )  # the compress stage's: float and served, beside each other
    model: str = ""  # the exported model's folder
    config: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""  # the measure of retention and gain; "" takes the task's own, `headline_measure`
    thresholds: Mapping[str, float] = field(default_factory=dict)  # of binary tasks, by model; chosen on validation
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""  # that repeats the run
    resamples: int = 1000  # of the bootstrap
    seed: int = 0
    examples: int = 12  # shown of the most, and of the least, agreeing

    def __post_init__(self) -> None:
        kind = kind_of(self.task)
        student = check_scores(kind, self.student, "student scores")
        check_labels(kind, self.labels, student)
        for index, column in enumerate(self.columns):
            if len(column) != len(student):
                raise ValueError(f"columns[{index}] has {len(column)} texts; there are {len(student)} rows")
        others = {**self.teachers, "teacher": self.teacher, "labels_only": self.labels_only}
        for name, scores in others.items():
            if scores is not None and np.shape(scores) != student.shape:
                raise ValueError(f"{name} scores are {list(np.shape(scores))}, the student's {list(student.shape)}")


def covered(scores: ArrayLike) -> Bools:
    """Returns the rows that a model has a score for, `[n]`."""
    array = np.asarray(scores)
    return ~np.isnan(array if array.ndim == 1 else array.sum(axis=1))


def summarise(run: RunResults) -> dict[str, Any]:
    """Returns the content of `report.json`: plain values only, None where a figure does not exist."""
    labels = np.asarray(run.labels)
    groups = None if run.groups is None else np.asarray(run.groups, object)
    draws: dict[str, Any] = {"resamples": run.resamples, "seed": run.seed}
    students = {"student": run.student} | ({} if run.labels_only is None else {"labels_only": run.labels_only})
    rankings = len(run.columns) == 2  # groups of single texts are no rankings
    measure = run.headline or headline_measure(run.task, labels, pairs=rankings)
    whole = Bootstrap(run.task, labels, students, groups, **draws)
    intervals: dict[str, Any] = {name: whole.intervals(name) for name in students}
    against: dict[str, Interval] = {}
    warnings: list[str] = []
    scored = np.zeros(len(labels), np.bool_) if run.teacher is None else covered(run.teacher)
    if run.teacher is not None and scored.any():
        both = {"teacher": np.asarray(run.teacher)[scored], "student": np.asarray(run.student)[scored]}
        shares = {"fidelity": agreement(both["teacher"], both["student"])}
        part = Bootstrap(run.task, labels[scored], both, _of(groups, scored), shares=shares, **draws)
        intervals["teacher"] = part.intervals("teacher")
        against["retention"] = part.ratio("student", "teacher")
        against["auc_retention"] = part.ratio("student", "teacher", "roc_auc")
        if "ndcg10" in part.values["teacher"] and rankings:
            against["ndcg10_retention"] = part.ratio("student", "teacher", "ndcg10")
        against["fidelity"] = part.share("fidelity")
        against["headline_retention"] = part.ratio("student", "teacher", measure)
        warnings = doubts(run.task, labels[scored], part.values["teacher"], against["retention"]["value"])
    if run.labels_only is not None:
        against["gain_over_labels_only"] = whole.difference("student", "labels_only")
        against["headline_gain"] = whole.difference("student", "labels_only", measure)
    report = {
        "name": run.name,
        "task": run.task.to_json() if hasattr(run.task, "to_json") else {"kind": kind_of(run.task)},
        **{name: _values(intervals.get(name)) for name in ("teacher", "student", "labels_only")},
        "teachers": {name: _alone(run, labels, groups, scores) for name, scores in run.teachers.items()},
        **{name: against[name]["value"] if name in against else None for name in (*COMPARED, *HEADLINE)},
        "headline_measure": measure,
        "baselines": {"constant": _constant(run, labels, groups)},
        "thresholds": _thresholds(run, labels),
        "intervals": {
            name: {key: figure["ci95"] for key, figure in figures.items()} for name, figures in intervals.items()
        }
        | {name: figure["ci95"] for name, figure in against.items()},
        "rows": {"test": len(labels), "teacher": int(scored.sum())},
        "warnings": warnings,
        "ndcg_groups": ndcg_groups(run.task, labels, groups) if groups is not None and rankings else None,
        "rejected": run.data.get("rejected", 0),
        "leaked": run.data.get("leaked", 0),
        "data": dict(run.data),
        "seconds": dict(run.seconds),
        "latency": dict(run.latency),
        "size_mb": dict(run.size_mb),
        "compression": dict(run.compression),
        "model": run.model,
        "command": run.command,
        "config": dict(run.config),
        "histories": {name: list(rows) for name, rows in run.histories.items()},
        "versions": dict(run.versions),
    }
    return dict(plain(report))


def plain(value: Any) -> Any:
    """Converts a value to JSON's own types; a number that JSON has no form for (NaN, infinity) becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _constant(run: RunResults, labels: NDArray[Any], groups: NDArray[Any] | None) -> dict[str, float | None]:
    classes = np.shape(run.student)[1] if kind_of(run.task) == "multiclass" else 1
    return metrics(run.task, labels, constant_scores(run.task, labels, classes), groups)


def _thresholds(run: RunResults, labels: NDArray[Any]) -> dict[str, dict[str, float]]:
    models = {"teacher": run.teacher, "student": run.student, "labels_only": run.labels_only}
    figures = {}
    for name, threshold in run.thresholds.items():
        scores = np.asarray(models[name])
        rows = covered(scores)
        if rows.any():
            figures[name] = threshold_figures(labels[rows], scores[rows], threshold)
    return figures


def _of(values: NDArray[Any] | None, rows: Bools) -> NDArray[Any] | None:
    return None if values is None else values[rows]


def _values(figures: Mapping[str, Interval] | None) -> dict[str, Any] | None:
    return None if figures is None else {name: interval["value"] for name, interval in figures.items()}


def _alone(
    run: RunResults, labels: NDArray[Any], groups: NDArray[Any] | None, scores: ArrayLike
) -> dict[str, float | None] | None:
    rows = covered(scores)
    return metrics(run.task, labels[rows], np.asarray(scores)[rows], _of(groups, rows)) if rows.any() else None
