"""The stage between training and export: the student that is served, small, beside the one that was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.config import ConfigError
from tfb2d.data.files import read_json
from tfb2d.data.tables import count_rows, read_table

if TYPE_CHECKING:
    from tfb2d.evaluation.calibration import Calibration
    from tfb2d.pipeline import Pipeline
    from tfb2d.students.model import Student
    from tfb2d.students.rows import HashedRows

# What a SavedModel of so many fields holds besides weights, at most: its signatures' graphs, the folding table, warm-up.
GRAPH_BYTES = {1: 500_000, 2: 1_000_000}
# Soft matching compares rows, so words that training never saw keep their start values there, of which a thousand do.
STRANGERS = {"ngrams": 1, "kernels": 1024}


def compress(run: "Pipeline", folder: Path) -> dict[str, Any]:
    """Makes the student that is served from the trained one, judges both and saves it in `folder`.

    Everything is done anew after a kill; it is short, and comes out the same.

    Returns:
      The calibration of the compressed student; megabytes (10^6 bytes of weights), and accuracy, ROC-AUC and log loss on
      valid and test, of `float` and `served`; for each table the rows that are stored.

    Raises:
      ConfigError: the size budget cannot be met.
    """
    from tfb2d.compress.student import stored_bytes
    from tfb2d.students.model import load_student

    config = run.config.compress
    trained = served = load_student(run.workdir / "student")
    if config.tables == "int8" or config.tunes_dense:
        rows = trained_rows(run, folder / "rows")
        if config.tables == "int8":
            served = pack(served, rows, config.max_megabytes)
        if config.tunes_dense:
            from tfb2d.compress.dense import tune

            served = tune(served, rows, config)
        rows.discard()
    before, _ = judge(run, trained)
    after, calibration = judge(run, served)
    served.save(folder)
    tables = (served.compression or {}).get("tables", {})
    return {
        "calibration": calibration.to_json(),
        "megabytes": {"float": stored_bytes(trained) / 1e6, "served": stored_bytes(served) / 1e6},
        "figures": {"float": before, "served": after},
        "rows": {name: {"buckets": trained.embeddings[name].buckets, **form} for name, form in tables.items()},
    }


def pack(student: "Student", rows: "HashedRows", max_megabytes: float = 0.0) -> "Student":
    """A student's int8 form: rows that training never read share a few, and under a budget rare rows are merged.

    Args:
      student: a trained one.
      rows: what it was trained on.
      max_megabytes: bound of the SavedModel; 0 sets none.

    Raises:
      ConfigError: the budget cannot be met; says what is the least.
    """
    from tfb2d.compress.budget import BudgetError, Table, fit
    from tfb2d.compress.counts import count_ids
    from tfb2d.compress.student import stored_bytes, with_tables

    layers = student.embeddings
    counts = dict(zip(layers, count_ids(rows, layers.values()), strict=True))
    tables = {name: Table(layer.table.numpy(), counts[name], STRANGERS[name]) for name, layer in layers.items()}
    rest = stored_bytes(student) - sum(table.values.nbytes for table in tables.values())
    rest += GRAPH_BYTES[len(student.task.fields)]
    try:
        return with_tables(student, fit(tables, int(max_megabytes * 1e6) - rest if max_megabytes else None))
    except BudgetError as error:
        least = np.ceil((rest + error.least) / 1e4) / 100
        raise ConfigError(
            f"compress.max_megabytes is {max_megabytes}; this student takes {least} at least: {rest / 1e6:.2f} for its "
            "dense layers and the graph, the rest for its tables (with fewer student.buckets they take less)"
        ) from None


def judge(run: "Pipeline", student: "Student", score: Callable | None = None) -> tuple[dict[str, Any], "Calibration"]:
    """A student's figures on the validation and the test split, and its calibration, learnt on the former.

    `score` stands in for `student.model`: a function of string tensors, one a field, to logits.
    """
    from tfb2d.evaluation.calibration import calibrate
    from tfb2d.evaluation.metrics import metrics

    tables = {split: read_table(run.workdir / "data" / split) for split in ("valid", "test")}
    labels = {split: table.column("label").to_numpy().astype(np.float64) for split, table in tables.items()}
    found = {}
    for split, table in tables.items():
        values = logits(score or student.model, [table.column(name).to_pylist() for name in run.task.fields])
        found[split] = values[:, 0] if run.task.n_logits == 1 else values
    calibration = calibrate(run.task, labels["valid"], found["valid"])
    names = ("accuracy", "roc_auc", "log_loss")
    figures = {split: metrics(run.task, labels[split], calibration.apply(found[split])) for split in found}
    return {split: {name: one[name] for name in names} for split, one in figures.items()}, calibration


def logits(score: Callable, columns: list[list[str]], batch: int = 1024) -> np.ndarray:
    """Logits `[n, k]` float32 of texts, a column a field; `score` is a function of string tensors."""
    import tensorflow as tf

    function = tf.function(score, reduce_retracing=True)
    parts = [
        function([tf.constant(column[start : start + batch], tf.string) for column in columns]).numpy()
        for start in range(0, len(columns[0]), batch)
    ]
    return np.concatenate(parts)


def trained_rows(run: "Pipeline", out: Path) -> "HashedRows":
    """The rows that the student was trained on, hashed."""
    from tfb2d.distill.stack import Stack
    from tfb2d.distill.targets import soft_rows
    from tfb2d.students.rows import hash_rows

    config, transfer = run.config, run.workdir / "data/transfer"
    found = read_json(run.workdir / "student/stage.json")["outcome"]["stack"]
    stack = Stack(**{key: tuple(value) for key, value in found.items()})
    folders = [run.workdir / "logits" / name for name in config.teachers]
    source = soft_rows(transfer, folders, run.task, stack, config.distill)
    return hash_rows(source, out, config.student.max_tokens, count_rows(transfer), run.progress, config.student.affixes)
