"""The last stage: teacher, student and baseline on the test split, measured and written down."""

import dataclasses
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.data.files import read_json
from tfb2d.data.tables import read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from tfb2d.data.task import Task
    from tfb2d.pipeline import Pipeline

PACKAGES = ("tfb2d", "tensorflow", "tf_keras", "keras", "keras-hub", "numpy", "pyarrow")


def report(run: "Pipeline", seconds: dict[str, float], folder: Path) -> dict[str, Any]:
    """Scores the test split with every model, measures latencies, and writes `report.json` and `report.html`.

    The student is judged as served: through the exported SavedModel, strings in, calibrated probabilities out. Teachers'
    and the baseline's scores are calibrated on the validation split in the same way.
    """
    from tfb2d.distill.stack import Stack
    from tfb2d.distill.targets import stacked_logits
    from tfb2d.evaluation.calibration import calibrate
    from tfb2d.evaluation.headline import best_threshold
    from tfb2d.evaluation.latency import measure
    from tfb2d.evaluation.report import write_report
    from tfb2d.evaluation.results import RunResults
    from tfb2d.evaluation.scorer import Scorer
    from tfb2d.evaluation.table import print_table
    from tfb2d.serving.export import folder_megabytes

    config, task, workdir = run.config, run.task, run.workdir
    data = workdir / "data"
    test, valid = read_table(data / "test"), read_table(data / "valid")
    columns = [test.column(name).to_pylist() for name in task.fields]
    outcomes = {name: read_json(workdir / name / "stage.json")["outcome"] for name in ("student", "compress", "export")}

    def judged(split: str, stack: Stack, names: list[str]) -> np.ndarray:
        return stacked_logits([workdir / "logits" / name / split for name in names], task, stack)

    def calibrated(stack: Stack, names: list[str], split: str = "test") -> np.ndarray:
        logits = judged("valid", stack, names)
        labels = valid.column("label").to_numpy()
        known = np.isfinite(logits).all(1)
        flat = (lambda z: z[:, 0]) if task.n_logits == 1 else (lambda z: z)
        return calibrate(task, labels[known], flat(logits[known])).apply(flat(judged(split, stack, names)))

    names = list(config.teachers)
    stack = Stack(**{key: tuple(value) for key, value in outcomes["student"]["stack"].items()})
    alone = Stack((1.0,), (0.0,) * task.n_logits)
    teachers = {name: calibrated(alone, [name]) for name in names} if len(names) > 1 else {}

    scorer = Scorer(outcomes["export"]["model"])
    latency = {"student": measure(scorer.score, columns, rows=config.report.latency_rows)}
    sizes = {"student": outcomes["export"]["megabytes"]}
    histories = {"student": outcomes["student"]["history"]}
    tuned = [name for name, teacher in config.teachers.items() if teacher.preset]
    for name in tuned:
        history = read_json(workdir / "teachers" / name / "stage.json")["outcome"].get("history", [])
        histories[f"teacher {name}" if len(names) > 1 else "teacher"] = history
    for name in tuned:
        from tfb2d.teachers.teacher import load_teacher

        key = name if len(names) > 1 else "teacher"
        teacher = load_teacher(workdir / "teachers" / name)
        latency[key] = measure(teacher.logits, columns, rows=min(50, config.report.latency_rows), batch=64)
        sizes[key] = folder_megabytes(workdir / "teachers" / name)
    labels_only = None
    if config.report.labels_only:
        labels_only = _labels_only(run, columns)
        histories["labels_only"] = read_json(workdir / "labels_only/stage.json")["outcome"]["history"]

    thresholds = {}
    if task.kind == "binary" and valid.num_rows:
        texts = [valid.column(name).to_pylist() for name in task.fields]
        choices = {"student": scorer.score(texts)[0], "teacher": calibrated(stack, names, "valid")}
        for name, scores in choices.items():
            scored = np.isfinite(scores)
            if scored.any():
                thresholds[name] = best_threshold(valid.column("label").to_numpy()[scored], scores[scored])

    results = RunResults(
        name=config.name,
        task=task,
        columns=columns,
        labels=test.column("label").to_numpy(),
        student=scorer.score(columns)[0],
        teacher=calibrated(stack, names),
        teachers=teachers,
        labels_only=labels_only,
        groups=_groups(test, task),
        thresholds=thresholds,
        histories=histories,
        data=read_json(data / "stats.json"),
        seconds=seconds,
        latency=latency,
        size_mb=sizes,
        compression={key: outcomes["compress"][key] for key in ("megabytes", "figures", "rows")},
        model=outcomes["export"]["model"],
        config=dataclasses.asdict(config),
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        command=run.command,
        resamples=config.report.resamples,
        examples=config.report.examples,
    )
    written = write_report(results, workdir)
    return {"table": print_table(written), "report": str(workdir / "report.html"), "model": results.model}


def _groups(test: "pa.Table", task: "Task") -> list[str] | None:
    """What NDCG is taken within, and the bootstrap draws whole: the splits' groups, or a pair's query."""
    if "group" in test.column_names:
        return test.column("group").to_pylist()
    return test.column(task.fields[0]).to_pylist() if len(task.fields) == 2 else None


def _labels_only(run: "Pipeline", columns: list[list[str]]) -> np.ndarray:
    import tensorflow as tf

    from tfb2d.evaluation.calibration import Calibration
    from tfb2d.students.model import load_student

    found = read_json(run.workdir / "labels_only/stage.json")["outcome"]["calibration"]
    calibration = Calibration(found["scale"], tuple(found["bias"]), found["note"])
    student = load_student(run.workdir / "labels_only")
    score = tf.function(lambda texts: student.model(texts, training=False))
    size = 1024
    parts = [
        score([tf.constant(column[start : start + size]) for column in columns]).numpy()
        for start in range(0, len(columns[0]), size)
    ]
    logits = np.concatenate(parts)
    return calibration.apply(logits[:, 0] if run.task.n_logits == 1 else logits)
