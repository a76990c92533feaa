"""The last stage, `report`: teacher, student and baseline on the test split, measured and written down."""

import dataclasses
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.atomic import read_json
from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import ReportOutcome
from tfb2d.probability import one_column
from tfb2d.runs import Run

if TYPE_CHECKING:
    import pyarrow as pa

    from tfb2d.distill.stack import Stack
    from tfb2d.evaluation.scorer import Scorer

VERSION = 2  # of the code: raise it when the same run gives another report
PACKAGES = ("tfb2d", "tensorflow", "tf_keras", "keras", "keras-hub", "numpy", "pyarrow")


def write_run_report(run: Run, config: Config, stages: Sequence[str]) -> ReportOutcome:
    """Scores the test split with every model, measures latencies, and writes `report.json` and `report.html`.

    The student is measured as served: the exported SavedModel, strings in, calibrated probabilities out. The scores of
    teachers and baseline are calibrated on the validation split, too.

    Args:
      run, config: the run.
      stages: those before this one, whose seconds are reported.
    """
    from tfb2d.distill.stack import Stack
    from tfb2d.evaluation.latency import measure
    from tfb2d.evaluation.report import write_report
    from tfb2d.evaluation.results import RunResults
    from tfb2d.evaluation.scorer import Scorer
    from tfb2d.evaluation.table import print_table

    task = Task.from_config(config.data)
    test = read_table(run.split("test"))
    columns = [test.column(name).to_pylist() for name in task.fields]
    student, compressed, exported = run.student_outcome(), run.compress_outcome(), run.export_outcome()
    assert student.stack is not None
    names = list(config.teachers)
    several = len(names) > 1
    alone = Stack((1.0,), (0.0,) * task.n_logits)
    scorer = Scorer(exported.model)
    latency = {"student": measure(scorer.score, columns, rows=config.report.latency_rows)}
    sizes = {"student": exported.megabytes}
    histories: dict[str, Any] = {"student": student.history}
    tuned = [name for name, teacher in config.teachers.items() if teacher.preset]
    for name in tuned:
        histories[f"teacher {name}" if several else "teacher"] = run.teacher_outcome(name).history
    for name in tuned:
        from tfb2d.teachers.teacher import load_teacher

        key = name if several else "teacher"
        teacher = load_teacher(run.teacher(name))
        latency[key] = measure(teacher.logits, columns, rows=min(50, config.report.latency_rows), batch=64)
        sizes[key] = megabytes(run.teacher(name))
    labels_only = None
    if config.report.labels_only:
        labels_only = _labels_only_scores(run, task)
        histories["labels_only"] = run.student_outcome("labels_only").history
    stack = Stack(student.stack.weights, student.stack.bias)
    results = RunResults(
        name=config.name,
        task=task,
        columns=columns,
        labels=test.column("label").to_numpy(),
        student=scorer.score(columns)[0],
        teacher=_teacher_scores(run, task, stack, names),
        teachers={name: _teacher_scores(run, task, alone, [name]) for name in names} if several else {},
        labels_only=labels_only,
        groups=groups_of(test, task),
        thresholds=_thresholds(run, task, scorer, stack, names),
        histories=histories,
        data=read_json(run.data / "stats.json"),
        seconds=run.seconds(stages),
        latency=latency,
        size_mb=sizes,
        compression={"megabytes": compressed.megabytes, "figures": compressed.figures, "rows": compressed.rows},
        model=exported.model,
        config=dataclasses.asdict(config),
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        command=run.command,
        resamples=config.report.resamples,
        examples=config.report.examples,
    )
    written = write_report(results, run.folder)
    return ReportOutcome(print_table(written), str(run.report_page), results.model)


def _thresholds(run: Run, task: Task, scorer: "Scorer", stack: "Stack", names: list[str]) -> dict[str, float]:
    """Returns the thresholds of student and teacher with the highest F1 on validation, of binary tasks alone."""
    from tfb2d.evaluation.headline import best_threshold

    if task.kind != "binary":
        return {}
    valid = read_table(run.split("valid"))
    labels = valid.column("label").to_numpy()
    models = {
        "student": scorer.score([valid.column(name).to_pylist() for name in task.fields])[0],
        "teacher": _teacher_scores(run, task, stack, names, "valid"),
    }
    scored = {name: np.isfinite(scores) for name, scores in models.items()}
    return {
        name: best_threshold(labels[scored[name]], scores[scored[name]])
        for name, scores in models.items()
        if scored[name].any()
    }


def _teacher_scores(run: Run, task: Task, stack: "Stack", names: list[str], split: str = "test") -> np.ndarray:
    """Returns the teachers' probabilities of a split's rows, stacked and then calibrated on validation."""
    from tfb2d.distill.targets import stacked_logits
    from tfb2d.evaluation.calibration import calibrate

    valid, rows = (stacked_logits([run.logits(name, each) for name in names], task, stack) for each in ("valid", split))
    labels = read_table(run.split("valid"), ["label"]).column("label").to_numpy()
    known = np.isfinite(valid).all(1)
    return calibrate(task, labels[known], one_column(valid[known])).apply(one_column(rows))


def _labels_only_scores(run: Run, task: Task) -> np.ndarray:
    """Returns the probabilities of the student that learnt from labels alone."""
    from safetensors.numpy import load_file

    from tfb2d.evaluation.calibration import Calibration

    numbers = run.student_outcome("labels_only").calibration
    calibration = Calibration(numbers.scale, numbers.bias, numbers.note)
    return calibration.apply(one_column(load_file(run.labels_only_logits)["test"]))


def groups_of(split: "pa.Table", task: Task) -> list[str] | None:
    """Returns the group of each row of a split: its `group`, or the query of a pair; None of single texts without groups.

    NDCG is computed within groups, and the bootstrap draws groups whole.
    """
    if "group" in split.column_names:
        return split.column("group").to_pylist()
    return split.column(task.fields[0]).to_pylist() if len(task.fields) == 2 else None
