"""The stage `compress`: makes the small student that is served from the trained one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.config import Config
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.evaluation.calibration import calibrate
from tfb2d.evaluation.headline import decide
from tfb2d.outcomes import Calibration, CompressOutcome, DecisionNumbers
from tfb2d.probability import one_column
from tfb2d.runs import Run
from tfb2d.students.stage import learnt_stack

if TYPE_CHECKING:
    from tfb2d.students.model import Student

VERSION = 2  # of the code: raise it when the same student and settings give another compressed one


def compress_student(run: Run, config: Config) -> CompressOutcome:
    """Makes the student that is served from the trained one, and measures both.

    After a kill the whole stage runs again; it is short and gives the same student. Raises ConfigError where the size
    budget cannot be met.
    """
    from tfb2d.compress.pack import pack
    from tfb2d.compress.student import stored_bytes
    from tfb2d.students.fit import soft_training_rows
    from tfb2d.students.model import load_student

    settings = config.compress
    trained = served = load_student(run.student)
    if settings.tables == "int8" or settings.tunes_dense:
        rows = soft_training_rows(run, config, learnt_stack(run))
        if settings.tables == "int8":
            served = pack(served, rows, settings.max_megabytes)
        if settings.tunes_dense:
            from tfb2d.compress.dense import tune

            served = tune(served, rows, settings)
    before, _, _ = split_figures(run, trained)
    after, calibration, decision = split_figures(run, served)
    served.save(run.compressed)
    tables = (served.compression or {}).get("tables", {})
    return CompressOutcome(
        calibration,
        {"float": stored_bytes(trained) / 1e6, "served": stored_bytes(served) / 1e6},
        {"float": before, "served": after},
        {name: {"buckets": trained.embeddings[name].buckets, **form} for name, form in tables.items()},
        decision,
    )


def split_figures(
    run: Run, student: "Student", score: Callable | None = None
) -> tuple[dict[str, dict[str, Any]], Calibration, DecisionNumbers | None]:
    """Returns a student's accuracy, ROC-AUC and log loss on "valid" and "test"; calibration and threshold, from "valid".

    `score` may stand in for `student.model`: a function of string tensors, one a field, to logits.
    """
    from tfb2d.evaluation.metrics import metrics
    from tfb2d.students.model import score_texts

    task: Task = student.task
    tables = {split: read_table(run.split(split)) for split in ("valid", "test")}
    labels = {split: table.column("label").to_numpy().astype(np.float64) for split, table in tables.items()}
    logits = {}
    for split, table in tables.items():
        values = score_texts(score or student.model, [table.column(name).to_pylist() for name in task.fields])
        logits[split] = one_column(values)
    calibration = calibrate(task, labels["valid"], logits["valid"])
    scores = {split: calibration.apply(values) for split, values in logits.items()}
    measured = {split: metrics(task, labels[split], scores[split]) for split in scores}
    names = ("accuracy", "roc_auc", "log_loss")
    figures = {split: {name: values[name] for name in names} for split, values in measured.items()}
    return figures, calibration, decide(task, labels["valid"], scores["valid"])
