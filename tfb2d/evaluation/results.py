"""The results of a run, and the figures of `report.json` computed from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.data.task import Task
from tfb2d.evaluation.bootstrap import Bootstrap, Interval
from tfb2d.evaluation.headline import constant_scores, headline_measure
from tfb2d.evaluation.metrics import LESS_IS_BETTER, metrics
from tfb2d.evaluation.models import DISTILLED, MODELS, Model, covered
from tfb2d.evaluation.ranking import ndcg_groups
from tfb2d.evaluation.scores import THRESHOLD, Bools, Floats, agreement, check_labels, check_scores, kind_of
from tfb2d.evaluation.table import METRICS
from tfb2d.evaluation.teacher_scores import few_scored, teacher_warnings

HEADLINE = ("headline_retention", "headline_gain")  # of the headline measure: retention, and gain over labels alone
# Comparisons of the leading model: its accuracy, ROC-AUC and NDCG@10 over its teacher's, the share of rows decided as the
# teacher does, and a student's accuracy less that of the same student trained on labels alone.
COMPARED = ("retention", "auc_retention", "ndcg10_retention", "fidelity", "gain_over_labels_only")
# How far the leading model is on the way from BM25 to its teacher, by the headline measure and by NDCG@10; rankings alone.
OVER_BM25 = ("over_bm25", "ndcg10_over_bm25")


@dataclass(frozen=True)
class RunResults:
    """Holds the test split as every model scored it, and facts about the run.

    Raises ValueError for arrays that do not fit the task or one another, or no distilled model.
    """

    name: str  # the recipe's
    task: Task
    columns: Sequence[Sequence[str]]  # test texts: one sequence of n texts a field
    labels: ArrayLike  # [n]: 0 or 1, a grade in [0, 1], or a class's index
    models: Mapping[str, Model]  # by the keys of MODELS; "teacher" is the only teacher, or the stack of several
    teachers: Mapping[str, Model] = field(default_factory=dict)  # each teacher by its name, where there are several
    groups: Sequence[str] | None = None  # [n], rows of the same query or movie
    data: Mapping[str, Any] = field(default_factory=dict)  # the data stage's stats.json
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> time
    compression: Mapping[str, Any] = field(default_factory=dict)  # the compress stage's, "float" and "served"
    config: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""  # the measure of retention and gain; "" takes the task's own, `headline_measure`
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""  # that repeats the run
    resamples: int = 1000  # of the bootstrap
    seed: int = 0
    examples: int = 12  # shown of the most, and of the least, agreeing
    contrasts: Mapping[str, Any] | None = None  # of `contrasts.contrasts`

    def __post_init__(self) -> None:
        kind = kind_of(self.task)
        if not self.distilled:
            raise ValueError(f"a report is about one of {', '.join(DISTILLED)}; there are {', '.join(self.models)}")
        leading = check_scores(kind, self.models[self.leading].scores, f"{self.leading} scores")
        check_labels(kind, self.labels, leading)
        for index, column in enumerate(self.columns):
            if len(column) != len(leading):
                raise ValueError(f"columns[{index}] has {len(column)} texts; there are {len(leading)} rows")
        for name, model in {**self.teachers, **self.models}.items():
            if np.shape(model.scores) != leading.shape:
                shapes = list(np.shape(model.scores)), list(leading.shape)
                raise ValueError(f"{name} scores are {shapes[0]}, those of the {self.leading} {shapes[1]}")

    @property
    def teacher_scores(self) -> Floats | None:
        """Returns the teacher's scores; None without a teacher, or where too few rows have a score (`few_scored`)."""
        if "teacher" not in self.models:
            return None
        scored = covered(self.models["teacher"].scores)
        if few_scored(int(scored.sum()), len(scored)):
            return None
        return np.asarray(self.models["teacher"].scores, np.float64)

    @property
    def distilled(self) -> list[str]:
        """Returns the keys of the models that learnt from the teacher; the first leads."""
        return [key for key in DISTILLED if key in self.models]

    @property
    def leading(self) -> str:
        """Returns the key of the model that the report's flat comparisons are about."""
        return self.distilled[0]

    @property
    def rankings(self) -> bool:
        """Says whether rows of a group are a query's titles; groups of single texts are no rankings."""
        return len(self.columns) == 2

    @property
    def thresholds(self) -> dict[str, float]:
        """Returns the thresholds of a binary task, by model; where none was chosen it is 0.5."""
        if kind_of(self.task) != "binary":
            return {}
        models = {**self.teachers, **self.models}
        return {key: THRESHOLD if model.threshold is None else model.threshold for key, model in models.items()}


def summarise(run: RunResults) -> dict[str, Any]:
    """Returns the content of `report.json`: plain values only, None where a figure does not exist."""
    labels = np.asarray(run.labels, np.float64)
    groups = None if run.groups is None else np.asarray(run.groups, object)
    measure = run.headline or headline_measure(run.task, labels, pairs=run.rankings)
    draws: dict[str, Any] = {"resamples": run.resamples, "seed": run.seed, "thresholds": run.thresholds}
    scores = {key: np.asarray(model.scores) for key, model in run.models.items()}
    teacher = scores.pop("teacher", None)
    whole = Bootstrap(run.task, labels, scores, groups, **draws)
    intervals, values = {key: whole.intervals(key) for key in scores}, dict(whole.values)
    compared: dict[str, dict[str, Interval]] = {key: {} for key in run.distilled}
    scored = np.zeros(len(labels), np.bool_) if teacher is None else covered(teacher)
    warnings = [] if teacher is None else few_scored(int(scored.sum()), len(labels))
    if teacher is not None and not warnings:
        met = {key: values[scored] for key, values in {"teacher": teacher, **scores}.items()}
        shares = {key: agreement(met["teacher"], met[key]) for key in run.distilled}
        part = Bootstrap(run.task, labels[scored], met, _of(groups, scored), shares=shares, **draws)
        intervals["teacher"], values["teacher"] = part.intervals("teacher"), part.values["teacher"]
        for key in run.distilled:
            compared[key] = against_teacher(part, key, measure, run.rankings)
        kept = compared[run.leading]["retention"]["value"]
        warnings = teacher_warnings(run.task, labels[scored], part.values["teacher"], kept, run.leading)
        warnings += _better_than_the_teacher(part, measure)
    if {"student", "labels_only"} <= set(scores):
        compared["student"]["gain_over_labels_only"] = whole.difference("student", "labels_only")
        pair = _better_first("student", "labels_only", measure)
        compared["student"]["headline_gain"] = whole.difference(*pair, measure)
    leading = compared[run.leading]
    every = {**run.teachers, **run.models}
    report = {
        "name": run.name,
        "task": run.task.to_json(),
        "leading": run.leading,
        **{key: values.get(key) for key in MODELS if key != "bm25"},
        "teachers": {name: _alone(run, name, labels, groups) for name in run.teachers},
        **{name: leading[name]["value"] if name in leading else None for name in (*COMPARED, *HEADLINE, *OVER_BM25)},
        "compared": compared,
        "headline_measure": measure,
        "baselines": {"constant": _constant(run, labels, groups)}
        | ({"bm25": values["bm25"]} if "bm25" in values else {}),
        "thresholds": _chosen(run, values),
        "intervals": {
            name: {key: figure["ci95"] for key, figure in figures.items()} for name, figures in intervals.items()
        }
        | {name: figure["ci95"] for name, figure in leading.items()},
        "rows": {"test": len(labels), "teacher": int(scored.sum())},
        "warnings": warnings,
        "ndcg_groups": ndcg_groups(run.task, labels, groups) if groups is not None and run.rankings else None,
        "rejected": run.data.get("rejected", 0),
        "leaked": run.data.get("leaked", 0),
        "data": dict(run.data),
        "seconds": dict(run.seconds),
        "latency": {key: dict(model.latency) for key, model in every.items() if model.latency}
        | {f"{key}_embed_query": dict(model.embed_latency) for key, model in every.items() if model.embed_latency},
        "size_mb": {key: model.size_mb for key, model in every.items() if model.size_mb is not None},
        "compression": dict(run.compression),
        "contrasts": run.contrasts,
        "model": run.models[run.leading].folder,
        "exported": {key: run.models[key].folder for key in run.distilled},
        "command": run.command,
        "config": dict(run.config),
        "histories": histories(run),
        "versions": dict(run.versions),
    }
    return dict(plain(report))


def seed_of(config: Mapping[str, Any], leading: str) -> int:
    """Returns the seed of the training of the model that leads a report."""
    return int(config["twin" if leading == "twin" else "training"]["seed"])


def histories(run: RunResults) -> dict[str, list[Mapping[str, Any]]]:
    """Returns each trained model's evaluations; one of several teachers is called "teacher NAME"."""
    models = {**{f"teacher {name}": model for name, model in run.teachers.items()}, **run.models}
    return {key: list(model.history) for key, model in models.items() if model.history}


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


def against_teacher(part: Bootstrap, key: str, measure: str, rankings: bool) -> dict[str, Interval]:
    """Compares a distilled model, of the key, with its teacher, by the headline measure and others.

    `part` is of the rows that the teacher scored; its models are "teacher", the model and perhaps "bm25", and the share
    named as the model is of the rows that both decide alike. `rankings` says whether rows of a group are a query's
    titles.
    """
    figures = {
        "retention": part.ratio(key, "teacher"),
        "auc_retention": part.ratio(key, "teacher", "roc_auc"),
        "fidelity": part.share(key),
        "headline_retention": part.ratio(*_better_first(key, "teacher", measure), measure),
    }
    ranked = rankings and "ndcg10" in part.values["teacher"]
    if ranked:
        figures["ndcg10_retention"] = part.ratio(key, "teacher", "ndcg10")
    if "bm25" in part.values:
        figures["over_bm25"] = part.share_of_gap(key, "bm25", "teacher", measure)
        if ranked:
            figures["ndcg10_over_bm25"] = part.share_of_gap(key, "bm25", "teacher", "ndcg10")
    return figures


def _better_than_the_teacher(part: Bootstrap, measure: str) -> list[str]:
    """Returns a sentence for each model without a teacher that is better than the teacher, beyond its 95% interval."""
    sentences = []
    for other in ("bm25", "labels_only"):
        if part.values.get(other, {}).get(measure) is None:
            continue
        gap = part.difference(*_better_first("teacher", other, measure), measure)
        if gap["ci95"] is not None and gap["ci95"][1] < 0:
            figures = [f"{part.values[key][measure]:.3f}" for key in ("teacher", other)]
            sentences.append(
                f"The teacher's {METRICS[measure]} is {figures[0]}, below {figures[1]} of {MODELS[other]}: more labels, "
                "epochs or layers may help the teacher."
            )
    return sentences


def _better_first(model: str, other: str, measure: str) -> tuple[str, str]:
    """Returns two models in the order in which a ratio or difference grows as the first one gets better."""
    return (other, model) if measure in LESS_IS_BETTER else (model, other)


def _constant(run: RunResults, labels: Floats, groups: NDArray[Any] | None) -> dict[str, float | None]:
    kind = kind_of(run.task)
    classes = np.shape(run.models[run.leading].scores)[1] if kind == "multiclass" else 1
    scores = constant_scores(run.task, labels, classes)
    # Always "yes" has the best F1 that a constant can have.
    return metrics(run.task, labels, scores, groups, float(scores[0]) if kind == "binary" else None)


def _chosen(run: RunResults, values: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Returns the thresholds that were chosen, by model, with F1, precision and recall on the test split."""
    figures = ("f1", "precision", "recall")
    chosen: dict[str, dict[str, float | None]] = {}
    for key, model in run.models.items():
        if key in values and model.threshold is not None:
            chosen[key] = {"threshold": model.threshold}
            chosen[key] |= {name: values[key][name] for name in figures if name in values[key]}
    return chosen


def _of(values: NDArray[Any] | None, rows: Bools) -> NDArray[Any] | None:
    return None if values is None else values[rows]


def _alone(run: RunResults, name: str, labels: Floats, groups: NDArray[Any] | None) -> dict[str, float | None] | None:
    scores = np.asarray(run.teachers[name].scores)
    rows = covered(scores)
    if few_scored(int(rows.sum()), len(rows)):
        return None
    return metrics(run.task, labels[rows], scores[rows], _of(groups, rows), run.thresholds.get(name))
