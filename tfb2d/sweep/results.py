"""The figures of a finished sweep: all variants on the same rows and the same bootstrap resamples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.evaluation.bootstrap import Bootstrap, interval_of
from tfb2d.evaluation.calibration import calibrate_known
from tfb2d.evaluation.headline import chosen_threshold
from tfb2d.evaluation.metrics import LESS_IS_BETTER
from tfb2d.evaluation.models import covered
from tfb2d.evaluation.scores import agreement
from tfb2d.probability import one_column
from tfb2d.sweep.curve import learning_curve
from tfb2d.sweep.run_data import RunData
from tfb2d.sweep.settings import Axis, base
from tfb2d.sweep.training import LOGITS, Job, base_of, identity, outcome_of

Figures = dict[str, Any]


class Split:
    """Computes the metrics of all jobs, which are done, on the split "valid" or "test", from their calibrated scores."""

    def __init__(self, run_data: RunData, name: str, trained: Sequence[Job], out: Path, resamples: int) -> None:
        task, valid, labels = run_data.task, run_data.labels["valid"], run_data.labels[name]
        rows, groups = np.isfinite(labels), run_data.groups(name)
        labels, groups = labels[rows], None if groups is None else np.asarray(groups, object)[rows]
        scores = {job.folder: _scores(job, out, name)[rows] for job in trained}
        thresholds = {job.folder: chosen_threshold(task, valid, _scores(job, out, "valid")) for job in trained}
        self._bootstrap = Bootstrap(task, labels, scores, groups, thresholds=thresholds, resamples=resamples)
        self._metrics = list(self._bootstrap.values[next(iter(scores))])
        self.teacher: Figures | None = None
        self._fidelity: dict[str, float] = {}
        teacher = _teacher(run_data, name)[rows]
        known = covered(teacher)
        if known.any():
            threshold = {"teacher": chosen_threshold(task, valid, _teacher(run_data, "valid"))}
            known_groups = None if groups is None else groups[known]
            models = {"teacher": teacher[known]}
            of_teacher = Bootstrap(task, labels[known], models, known_groups, thresholds=threshold, resamples=resamples)
            self.teacher = of_teacher.intervals("teacher")
            self._fidelity = {key: float(agreement(teacher[known], own[known]).mean()) for key, own in scores.items()}

    def figures(self, seeds: Sequence[Job], base_seeds: Sequence[Job]) -> Figures:
        """Returns a variant's metrics, their difference from the base's, and its fidelity to the teacher.

        Returns:
          metric -> `{"value": the mean over the seeds, "ci95", "by_seed", "difference", "difference_ci95"}`; `fidelity` ->
          `{"value", "by_seed"}`.
        """
        figures: Figures = {}
        for metric in self._metrics:
            own, base_own = self.by_seed(seeds, metric), self.by_seed(base_seeds, metric)
            figures[metric] = {**interval_of(own.mean(0)), "by_seed": own[:, 0].tolist()}
            if figures[metric]["value"] is not None:
                difference = interval_of(own.mean(0) - base_own.mean(0))
                figures[metric] |= {"difference": difference["value"], "difference_ci95": difference["ci95"]}
        shares = [self._fidelity[job.folder] for job in seeds if self._fidelity]
        figures["fidelity"] = {"value": float(np.mean(shares)) if shares else None, "by_seed": shares}
        return figures

    def by_seed(self, seeds: Sequence[Job], metric: str) -> np.ndarray:
        """Returns a metric of the rows and of each resample, `[seeds, 1 + resamples]`; NaN is undefined."""
        return np.stack([self._bootstrap.figures(job.folder, metric) for job in seeds])


def evaluate(
    run_data: RunData, axes: Sequence[Axis], trained: Sequence[Job], out: Path, *, test: bool, resamples: int
) -> Figures:
    """Computes all figures of a sweep whose jobs are done; `test` looks at the test split, too.

    Returns `{"primary", "teacher", "axes": [{"name", "title", "note", "best", "variants": [...]}]}`. `primary` is the
    task's headline measure on validation. `best` is the variant with the best validation figure of it, None where no
    variant has a figure. Every variant has `valid` and, with `test`, `test`.
    """
    splits = {name: Split(run_data, name, trained, out, resamples) for name in ("valid", *(["test"] if test else []))}
    by_key: dict[str, list[Job]] = {}
    for job in trained:
        by_key.setdefault(job.key, []).append(job)
    own = by_key[identity(run_data, base_of(axes).settings)]
    primary = run_data.headline.measure
    answers = []
    for axis in axes:
        variants = []
        for variant in axis.variants:
            seeds = by_key[identity(run_data, variant.settings)]
            outcomes = [outcome_of(job, out) for job in seeds]
            variants.append(
                {
                    "name": variant.name,
                    "number": variant.number,
                    "base": variant.base,
                    "seeds": [job.seed for job in seeds],
                    "folder": str(Path(seeds[0].folder).parent),
                    "rows": outcomes[0].rows,
                    "train_seconds": float(np.mean([outcome.train_seconds for outcome in outcomes])),
                    "parameters": outcomes[0].parameters,
                    "megabytes": outcomes[0].megabytes,
                    **{name: split.figures(seeds, own) for name, split in splits.items()},
                }
            )
        figures: Figures = {"name": axis.name, "title": axis.title, "note": axis.note, "variants": variants}
        scores = [_value(figure, "valid", primary) for figure in variants]
        figures["best"] = variants[int(np.argmax(scores))]["name"] if np.isfinite(scores).any() else None
        if axis.name == "transfer":
            figures["curves"] = _curves(axis, run_data, splits, by_key, variants, primary)
        answers.append(figures)
    teacher = {name: split.teacher for name, split in splits.items()}
    return {"primary": primary, "teacher": teacher, "axes": answers}


def _curves(
    axis: Axis,
    run_data: RunData,
    splits: Mapping[str, Split],
    by_key: Mapping[str, Sequence[Job]],
    variants: Sequence[Figures],
    primary: str,
) -> Figures:
    """Returns the fitted learning curves by split and metric, or `{"none": the reason}` where there is no curve."""
    curves: Figures = {}
    rows = [variant["rows"] for variant in variants]
    for name, split in splits.items():
        curves[name] = {}
        for metric in dict.fromkeys(("accuracy", primary)):
            if metric in LESS_IS_BETTER:
                curves[name][metric] = {"none": "curves are fitted to 1 less a measure whose best value is 1"}
                continue
            errors = [[1 - value for value in variant[name][metric]["by_seed"]] for variant in variants]
            seeds = [by_key[identity(run_data, variant.settings)] for variant in axis.variants]
            samples = [1 - split.by_seed(jobs, metric)[:, 1:] for jobs in seeds]
            try:
                curves[name][metric] = learning_curve(rows, errors, samples)
            except (ValueError, TypeError) as problem:
                curves[name][metric] = {"none": str(problem)}
    return curves


def _teacher(run_data: RunData, split: str) -> np.ndarray:
    """Returns the stacked teachers' scores, calibrated on validation; NaN where a row has no logit."""
    settings = base(run_data.config)
    valid, logits = (one_column(run_data.teacher(settings, name)) for name in ("valid", split))
    return calibrate_known(run_data.task, run_data.labels["valid"], valid).apply(logits)


def _scores(job: Job, out: Path, split: str) -> np.ndarray:
    """Returns a job's calibrated scores of a split, `[n]` or `[n, k]`."""
    from safetensors.numpy import load_file

    logits = one_column(load_file(out / job.folder / LOGITS)[split])
    return outcome_of(job, out).calibration.apply(logits)


def _value(variant: Figures, split: str, metric: str) -> float:
    """Returns what orders variants, the greater the better."""
    value = variant[split][metric]["value"]
    return -np.inf if value is None else -value if metric in LESS_IS_BETTER else value
