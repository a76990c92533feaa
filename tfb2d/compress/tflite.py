"""A student as TensorFlow Lite: `scorer.tflite`, which takes padded n-gram ids; `text_scorer.tflite`, which takes strings.

TensorFlow Lite has no string hash, so the edge form takes ids, and `tfb2d.edge` makes them.
"""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfb2d.atomic import write_atomic, write_json
from tfb2d.compress.edge_graph import EdgeGraph
from tfb2d.edge.spec import SCORER, SPEC_FILE, VOCABULARY, Spec
from tfb2d.errors import DataError
from tfb2d.students.model import Student
from tfb2d.students.served import scores_and_logits
from tfb2d.students.spelling import SPELLING

TEXT_SCORER = "text_scorer.tflite"


def convert(student: Student, form: str = "int8") -> bytes:
    """Converts a student to a TensorFlow Lite model from ids to logits, of built-in ops alone.

    The form "float" is exact. "int8" stores tables as int8 with a scale a row; they are nearly all of the file. Dense
    layers and convolutions stay float32: eight bits for pooled vectors moved probabilities by up to 0.012. The
    converter's own quantisation cannot leave a layer out, and skips all layers below 1,024 weights.
    """
    graph = EdgeGraph(student, form)
    served = tf.function(graph.__call__, autograph=False).get_concrete_function(**graph.signature)
    return _converted(served, [tf.lite.OpsSet.TFLITE_BUILTINS])


def _converted(served: Any, ops: Sequence[tf.lite.OpsSet]) -> bytes:
    """Converts a concrete function."""
    module = tf.Module()
    module.weights = (
        served.variables
    )  # the converter saves this module as a SavedModel, whose input names the result keeps
    with _quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([served], module)
        converter.target_spec.supported_ops = ops
        return converter.convert()


def write_edge(student: Student, folder: Path, scale: float, bias: Sequence[float], form: str = "int8") -> int:
    """Writes the edge form, which `tfb2d.edge.EdgeScorer` reads: `scorer.tflite`, `spec.json`, and what goes with them.

    The calibration is a scale and a bias, as `tfb2d.serving.export` takes it; `form` is that of `convert`. Returns the
    size of `scorer.tflite` in bytes.
    """
    task, config = student.task, student.config
    model = convert(student, form)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / SCORER, model)
    spec = Spec(
        fields=task.fields,
        classes=task.classes if task.n_logits > 1 else (),
        orders=config.orders,
        window=config.window,
        affixes=config.affixes,
        vocabulary=config.vocabulary,
        known_words=len(student.dictionary or ()),
        buckets=config.buckets,
        max_tokens=config.max_tokens,
        soft_buckets=config.soft_buckets if student.kernels else 0,
        scale=float(scale),
        bias=tuple(map(float, bias)),
        form=form,
    )
    if student.ngrams.known is not None:
        write_atomic(folder / VOCABULARY, student.ngrams.known.numpy().astype("<i8").tobytes())
    if student.dictionary:
        student.dictionary.save(folder / SPELLING)
    values = dataclasses.asdict(spec)
    for name in ("affixes", "vocabulary", "known_words"):  # older runners refuse keys that they do not know
        if not values[name]:
            del values[name]
    write_json(folder / SPEC_FILE, values)
    return len(model)


def convert_text(student: Student, scale: float, bias: Sequence[float]) -> bytes:
    """Converts a student to a TensorFlow Lite model from strings to `score` and `logit`, with Select (Flex) ops.

    It runs where the runtime links Flex. Android, iOS and C++ can; the Python packages `tensorflow` 2.21 and
    `ai-edge-litert` cannot. Tables stay as the student has them. The graph is the trained one, not the served one, whose
    LowerBound op Flex does not know. Raises DataError for a student that looks up a vocabulary or known words by it.
    """
    if student.ngrams.known is not None or student.dictionary:
        setting = "a dictionary (student.spelling)" if student.dictionary else "a vocabulary (student.vocabulary)"
        raise DataError(
            f"a student with {setting} has no edge form of strings: TensorFlow Lite's Flex ops lack LowerBound; the form "
            "of ids (--forms=edge) does without"
        )

    def predict(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = student.model([texts[name] for name in student.task.fields], training=False)
        return scores_and_logits(logits, scale, bias)

    inputs = {name: tf.TensorSpec([None], tf.string, name=name) for name in student.task.fields}
    served = tf.function(predict, autograph=False).get_concrete_function(**inputs)
    return _converted(served, [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the converter's notes: on every call it announces its deprecation and counts its ops."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
