"""The splits of a finished run as each of its models scores them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.evaluation.calibration import calibrate_known
from tfb2d.evaluation.headline import chosen_threshold
from tfb2d.evaluation.latency import Columns, measure
from tfb2d.evaluation.models import Model
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ExportOutcome, Stack
from tfb2d.probability import one_column
from tfb2d.runs import Run

if TYPE_CHECKING:
    from tfb2d.evaluation.scorer import Scorer

LoadTeacher = Callable[[Path], Callable[[Columns], Any]]
Score = Callable[[Columns], np.ndarray]  # texts, a list a field, to calibrated probabilities


def exported_models(run: Run, config: Config) -> dict[str, ExportOutcome]:
    """Returns the distilled models that the run exported, by their key; a further kind of model is an entry more."""
    outcomes = {"student": run.export_outcome, "twin": run.export_twin_outcome}
    return {key: outcome() for key, outcome in outcomes.items() if key in config.models}


class RunScores:
    """Scores the splits of a finished run, and any other texts, with each of its models.

    `load_teacher` takes a saved teacher's folder, and returns what computes logits of texts, a list a field.
    """

    def __init__(self, run: Run, config: Config, load_teacher: LoadTeacher) -> None:
        self.run, self.config, self.task = run, config, Task.from_config(config.data)
        self._load_teacher = load_teacher
        self._scorers: dict[str, Scorer] = {}
        self._teachers: dict[str, Callable[[Columns], Any]] = {}
        self.tables = {split: read_table(run.split(split)) for split in ("valid", "test")}
        self.labels = self.tables["valid"].column("label").to_numpy()

    def columns(self, split: str) -> list[list[str]]:
        """Returns the texts of a split, a list for each field."""
        return [self.tables[split].column(name).to_pylist() for name in self.task.fields]

    def exported(self, key: str, exported: ExportOutcome) -> Model:
        """Measures an exported model as it is served."""
        scorer, rows, texts = self._scorer(exported.model), self.config.report.latency_rows, self.columns("test")
        scores, logits = scorer.score(texts)
        embedding: Mapping[str, Any] = {}
        if "embed_query" in scorer.signatures:
            embedding = measure(lambda columns: scorer.embed(columns[0], "embed_query"), texts[:1], rows=rows)
        return Model(
            scores=scores,
            threshold=chosen_threshold(self.task, self.labels, scorer.score(self.columns("valid"))[0]),
            history=(self.run.twin_outcome() if key == "twin" else self.run.student_outcome()).history,
            latency=measure(scorer.score, texts, rows=rows),
            size_mb=exported.megabytes,
            embed_latency=embedding,
            folder=exported.model,
            logits=logits,
            calibration=scorer.calibration,
        )

    def teacher(self, name: str) -> Model:
        """Measures one teacher: its labels of the splits and, where it was fine-tuned here, the model itself."""
        model = self._calibrated(*self._logits([name], _alone(self.task)))
        if not self.config.teachers[name].preset:
            return model
        rows = min(50, self.config.report.latency_rows)
        return dataclasses.replace(
            model,
            history=self.run.teacher_outcome(name).history,
            latency=measure(self._loaded(name), self.columns("test"), rows=rows, batch=64),
            size_mb=megabytes(self.run.teacher(name)),
        )

    def stacked_teachers(self) -> Model:
        """Measures the teachers together, stacked as the distilled models learnt them."""
        return self._calibrated(*self._logits(list(self.config.teachers), self._stack))

    def labels_only(self) -> Model:
        """Measures the student that learnt from labels alone, on its float32 logits."""
        from safetensors.numpy import load_file

        logits = load_file(self.run.labels_only_logits)
        history = self.run.student_outcome("labels_only").history
        return dataclasses.replace(self._calibrated(logits["valid"], logits["test"]), history=history)

    def bm25(self) -> Model:
        """Measures BM25; the documents are a split's own titles."""
        from tfb2d.evaluation.bm25 import bm25_scores

        valid, test = (bm25_scores(*self.columns(split))[:, None] for split in ("valid", "test"))
        return self._calibrated(valid, test)

    def score_by_teachers(self) -> Score | None:
        """Returns what scores new texts with the stacked teachers; None where one of them is scores from a file."""
        names = list(self.config.teachers)
        if not all(self.config.teachers[name].preset for name in names):
            return None
        valid, _ = self._logits(names, self._stack)
        calibration = calibrate_known(self.task, self.labels, one_column(valid))

        def score(columns: Columns) -> np.ndarray:
            logits = np.stack([np.asarray(self._loaded(name)(columns), np.float32) for name in names], 1)
            return calibration.apply(one_column(self._stack(logits)))

        return score

    def score_by(self, exported: ExportOutcome) -> Score:
        """Returns what scores new texts with an exported model, as it is served."""
        return lambda columns: self._scorer(exported.model).score(columns)[0]

    @cached_property
    def _stack(self) -> Stack:
        from tfb2d.distill.targets import fit

        names = list(self.config.teachers)
        if len(names) == 1:
            return _alone(self.task)
        tables = [self.run.logits(name, "valid") for name in names]
        return fit(self.config.distill, tables, self.task, self.labels.astype(np.float64))

    def _scorer(self, folder: str) -> "Scorer":
        from tfb2d.evaluation.scorer import Scorer

        if folder not in self._scorers:
            self._scorers[folder] = Scorer(folder)
        return self._scorers[folder]

    def _loaded(self, name: str) -> Callable[[Columns], Any]:
        if name not in self._teachers:
            self._teachers[name] = self._load_teacher(self.run.teacher(name))
        return self._teachers[name]

    def _logits(self, names: Sequence[str], stack: Stack) -> list[np.ndarray]:
        """Returns teachers' stacked logits of the validation and test splits."""
        from tfb2d.distill.targets import stacked_logits

        splits = [[self.run.logits(name, split) for name in names] for split in ("valid", "test")]
        return [stacked_logits(tables, self.task, stack) for tables in splits]

    def _calibrated(self, valid: np.ndarray, test: np.ndarray) -> Model:
        """Calibrates logits `[n, k]` of the test split by those of the validation split; NaN rows stay NaN."""
        valid, logits = one_column(valid), one_column(test)
        calibration = calibrate_known(self.task, self.labels, valid)
        threshold = chosen_threshold(self.task, self.labels, calibration.apply(valid))
        return Model(calibration.apply(logits), threshold, logits=logits, calibration=calibration)


def _alone(task: Task) -> Stack:
    """Returns the stack of one teacher, which leaves its logits as they are."""
    return Stack((1.0,), (0.0,) * task.n_logits)
