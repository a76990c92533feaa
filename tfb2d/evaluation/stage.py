"""The last stage, `report`: teacher, distilled models and baselines on the test split, measured and written down."""

import dataclasses
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.atomic import read_json
from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.evaluation.headline import best_threshold, groups_of, headline_on
from tfb2d.evaluation.latency import Columns, measure
from tfb2d.evaluation.models import History, Model, covered
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ReportOutcome
from tfb2d.probability import one_column
from tfb2d.runs import Run

if TYPE_CHECKING:
    from tfb2d.distill.stack import Stack

VERSION = 3  # of the code: raise it when the same run gives another report
LoadTeacher = Callable[[Path], Callable[[Columns], Any]]
PACKAGES = ("tfb2d", "tensorflow", "tf_keras", "keras", "keras-hub", "numpy", "pyarrow")


@dataclass(frozen=True)
class Exported:
    """A distilled model that the run exported.

    Attributes:
      key: "student" or "twin".
      folder: of the exported version.
      megabytes: its size, 10^6 bytes.
      history: figures of its training.
    """

    key: str
    folder: str
    megabytes: float
    history: History


def write_run_report(run: Run, config: Config, stages: Sequence[str], load_teacher: LoadTeacher) -> ReportOutcome:
    """Scores the test split with every model, measures latencies, and writes `report.json` and `report.html`.

    Distilled models are measured as served: the exported SavedModel, strings in, calibrated probabilities out. The scores
    of teachers and baselines are calibrated on the validation split, too.

    Args:
      run, config: the run.
      stages: those before this one, whose seconds are reported.
      load_teacher: takes a saved teacher's folder, and returns what scores texts with it, a list a field.
    """
    from tfb2d.evaluation.report import write_report
    from tfb2d.evaluation.results import RunResults
    from tfb2d.evaluation.table import print_table

    material = _Material(run, config, load_teacher)
    task, test = material.task, material.tables["test"]
    several = len(config.teachers) > 1
    alone = {name: material.teacher(name) for name in config.teachers}
    models = {"teacher": material.stacked_teachers() if several else next(iter(alone.values()))}
    models |= {exported.key: material.exported(exported) for exported in exported_models(run, config)}
    if config.report.labels_only and "student" in config.models:
        models["labels_only"] = material.labels_only()
    if len(task.fields) == 2 and task.kind != "multiclass":
        models["bm25"] = material.bm25()
    results = RunResults(
        name=config.name,
        task=task,
        columns=material.columns("test"),
        labels=test.column("label").to_numpy(),
        models=models,
        teachers=alone if several else {},
        groups=groups_of(test, task),
        data=read_json(run.data / "stats.json"),
        seconds=run.seconds(stages),
        compression=_compression(run) if "student" in config.models else {},
        config=dataclasses.asdict(config),
        headline=headline_on(task, material.tables["valid"], config.report.headline).measure,
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        command=run.command,
        resamples=config.report.resamples,
        examples=config.report.examples,
    )
    written = write_report(results, run.folder)
    return ReportOutcome(print_table(written), str(run.report_page), written["model"])


def exported_models(run: Run, config: Config) -> list[Exported]:
    """Returns the distilled models that the run exported; a further kind of model is an entry more."""
    models = []
    if "student" in config.models:
        exported, history = run.export_outcome(), run.student_outcome().history
        models.append(Exported("student", exported.model, exported.megabytes, history))
    if "twin" in config.models:
        exported, history = run.export_twin_outcome(), run.twin_outcome().history
        models.append(Exported("twin", exported.model, exported.megabytes, history))
    return models


class _Material:
    """Scores the splits of a run with each of its models."""

    def __init__(self, run: Run, config: Config, load_teacher: LoadTeacher) -> None:
        self.run, self.config, self.task = run, config, Task.from_config(config.data)
        self._load_teacher = load_teacher
        self.tables = {split: read_table(run.split(split)) for split in ("valid", "test")}
        self.labels = self.tables["valid"].column("label").to_numpy()

    def columns(self, split: str) -> list[list[str]]:
        """Returns the texts of a split, a list for each field."""
        return [self.tables[split].column(name).to_pylist() for name in self.task.fields]

    def exported(self, exported: Exported) -> Model:
        """Measures an exported model as it is served."""
        from tfb2d.evaluation.scorer import Scorer

        scorer, rows = Scorer(exported.folder), self.config.report.latency_rows
        texts = self.columns("test")
        embeds = "embed_query" in scorer.signatures
        return Model(
            scorer.score(texts)[0],
            self._threshold(scorer.score(self.columns("valid"))[0]),
            exported.history,
            measure(scorer.score, texts, rows=rows),
            exported.megabytes,
            measure(lambda columns: scorer.embed(columns[0], "embed_query"), texts[:1], rows=rows) if embeds else {},
            exported.folder,
        )

    def teacher(self, name: str) -> Model:
        """Measures one teacher: its labels of the splits and, where it was fine-tuned here, the model itself."""
        from tfb2d.distill.stack import Stack

        model = self._labelled([name], Stack((1.0,), (0.0,) * self.task.n_logits))
        if not self.config.teachers[name].preset:
            return model
        folder = self.run.teacher(name)
        rows = min(50, self.config.report.latency_rows)
        return dataclasses.replace(
            model,
            history=self.run.teacher_outcome(name).history,
            latency=measure(self._load_teacher(folder), self.columns("test"), rows=rows, batch=64),
            size_mb=megabytes(folder),
        )

    def stacked_teachers(self) -> Model:
        """Measures the teachers together, stacked as the distilled models learnt them."""
        from tfb2d.distill.targets import fit

        names = list(self.config.teachers)
        tables = [self.run.logits(name, "valid") for name in names]
        return self._labelled(names, fit(self.config.distill, tables, self.task, self.labels.astype(np.float64)))

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

    def _labelled(self, names: Sequence[str], stack: "Stack") -> Model:
        """Measures the logits that teachers wrote, stacked."""
        from tfb2d.distill.targets import stacked_logits

        splits = [[self.run.logits(name, split) for name in names] for split in ("valid", "test")]
        return self._calibrated(*(stacked_logits(tables, self.task, stack) for tables in splits))

    def _calibrated(self, valid: np.ndarray, test: np.ndarray) -> Model:
        """Calibrates logits `[n, k]` of the test split by those of the validation split; NaN rows stay NaN."""
        from tfb2d.evaluation.calibration import calibrate

        known = np.isfinite(valid).all(1)
        calibration = calibrate(self.task, self.labels[known], one_column(valid[known]))
        return Model(calibration.apply(one_column(test)), self._threshold(calibration.apply(one_column(valid))))

    def _threshold(self, valid: np.ndarray) -> float | None:
        """Returns the threshold of a binary task with the highest F1 on validation."""
        rows = covered(valid)
        return best_threshold(self.labels[rows], valid[rows]) if self.task.kind == "binary" and rows.any() else None


def _compression(run: Run) -> dict[str, Any]:
    compressed = run.compress_outcome()
    return {"megabytes": compressed.megabytes, "figures": compressed.figures, "rows": compressed.rows}
