"""Measures one trained student in many compressed forms."""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.compress.dense import dense_model, features, some_batches, tuned, with_dense
from tfb2d.compress.pack import pack
from tfb2d.compress.quantised import quantised, quantised_form
from tfb2d.compress.stage import split_figures
from tfb2d.compress.student import dense_layers, stored_bytes
from tfb2d.config import CompressConfig, Config, ConfigError
from tfb2d.evaluation.latency import measure
from tfb2d.runs import Run
from tfb2d.students.fit import soft_training_rows
from tfb2d.students.model import Student, load_student
from tfb2d.students.rows import TrainingRows
from tfb2d.students.served import ServedStudent
from tfb2d.students.stage import learnt_stack


def compare(run: Run, run_config: Config, forms: Sequence[str], epochs: int) -> list[dict[str, Any]]:
    """Measures the student of a run in each form, named as the command `tfb2d compress` takes them.

    Returns for each form: megabytes, zipped megabytes, share of zero weights, microseconds a text, and accuracy,
    ROC-AUC and log loss on "valid" and "test". Raises ConfigError for an unknown form, or a budget that cannot be met.
    """
    settings = {form: _settings(form, epochs) for form in forms}
    trained = load_student(run.student)
    rows = soft_training_rows(run, run_config, learnt_stack(run))
    packed = pack(trained, rows)
    figures = []
    for form, config in settings.items():
        score = None
        student = trained if form == "float" else packed
        if config.max_megabytes:
            student = pack(trained, rows, config.max_megabytes)
        if config.tunes_dense or form == "post-training":
            student, score = _tuned(packed, rows, config, form == "post-training")
        figures.append({"form": form, **_figures(run, student, score)})
    return figures


def _settings(form: str, epochs: int) -> CompressConfig:
    config = CompressConfig(epochs=epochs)
    for part in form.split("+"):
        name, _, number = part.rpartition("-")
        if not number.replace(".", "", 1).isdigit():
            name, number = part, "0"
        changes: dict[str, dict[str, Any]] = {
            "float": {},
            "int8": {},
            "post-training": {},
            "qat": {"qat_epochs": epochs},
            "pruned": {"sparsity": float(number) / 100},
            "clusters": {"clusters": int(float(number))},
            "budget": {"max_megabytes": float(number)},
        }
        if name not in changes:
            raise ConfigError(f"there is no form {part!r}; there are {', '.join(changes)}")
        config = dataclasses.replace(config, **changes[name])
    return config


def _tuned(
    student: Student, rows: TrainingRows, config: CompressConfig, rounded: bool
) -> tuple[Student, Callable | None]:
    source = features(student)
    if rounded:
        model = quantised(dense_model(student), some_batches(source, rows, 0))
    else:
        model = tuned(dense_model(student), source, rows, config)
    if not (rounded or config.qat_epochs):
        return with_dense(student, model.get_weights()), None
    return with_dense(student, quantised_form(model)[0]), lambda texts: model(
        source(student.hashes(texts)), training=False
    )


def _figures(run: Run, student: Student, score: Callable | None) -> dict[str, Any]:
    kernels = [layer.kernel.numpy() for layer in dense_layers(student)]
    weights = b"".join(np.ascontiguousarray(weight.numpy()).tobytes() for weight in student.trunk.weights)
    graph = ServedStudent(student)
    fields = len(student.task.fields)
    serve = tf.function(graph.logits).get_concrete_function([tf.TensorSpec([None], tf.string)] * fields)
    texts = [["a text of six words here"]] * fields
    latency = measure(lambda columns: serve([tf.constant(column) for column in columns]), texts, rows=250, warmup=50)
    return {
        "megabytes": stored_bytes(student) / 1e6,
        "zipped_megabytes": len(zlib.compress(weights, 6)) / 1e6,
        "zeros": float(sum((kernel == 0).sum() for kernel in kernels) / sum(kernel.size for kernel in kernels)),
        "single_us": 1e3 * latency["single_ms"]["p50"],
        "figures": split_figures(run, student, score)[0],
    }
