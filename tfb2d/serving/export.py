"""Writes a student as a SavedModel that takes raw strings, in a version folder that TensorFlow Serving picks up."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d import __version__
from tfb2d.model_folder import EDGE
from tfb2d.outcomes import DecisionNumbers
from tfb2d.serving.same_rows import same_rows
from tfb2d.serving.version_folder import Request, single_rows_and_all, write_version
from tfb2d.students import text_spec
from tfb2d.students.model import Student
from tfb2d.students.served import ServedStudent, scores_and_logits


def signatures(graph: ServedStudent, scale: float, bias: Sequence[float]) -> dict[str, Callable]:
    """Returns the served functions of a student, by signature name.

    Args:
      graph: the served form of a student; it holds the tables and must outlive the functions.
      scale, bias: the calibration, `score = sigmoid(scale * logit + bias)`, or softmax over classes; `bias` has one
        number a logit.

    Returns:
      Concrete functions by signature name:
        `serving_default`: a string tensor `[batch]` per field -> `score`, `logit`, float32 `[batch]` or `[batch, classes]`.
        `classify`: serialized tf.Example `[batch]` -> `classes`, `scores`.
        `regress`, where there is one score a row: serialized tf.Example `[batch]` -> `outputs`.
        `rank`, for pairs: `query` `[batch]`, `titles` `[batch, n]`, "" for padding -> `scores` `[batch, n]`, 0 for padding.
          A server that pads requests (`pad_variable_length_inputs`) adds columns of its own. They repeat the request's
          first title and get its score, so a client must keep only the scores of the titles that it sent.
    """
    fields, k = graph.task.fields, graph.task.n_logits
    classes = graph.task.classes or ("0", "1")

    def predict(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = [texts[name] for name in fields]
        return scores_and_logits(graph.logits(same_rows(*columns) if len(fields) == 2 else columns), scale, bias)

    def parsed(inputs: tf.Tensor) -> tf.Tensor:
        features = tf.io.parse_example(inputs, {name: tf.io.FixedLenFeature([], tf.string) for name in fields})
        return scores_and_logits(graph.logits([features[name] for name in fields]), scale, bias)["score"]

    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = parsed(inputs)
        if k == 1:
            scores = tf.stack([1 - scores, scores], -1)
        names = tf.repeat(tf.constant([classes]), tf.shape(scores)[0], 0)
        return {"classes": names, "scores": scores}

    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": parsed(inputs)}

    def rank(query: tf.Tensor, titles: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = scores_and_logits(graph.rank(*same_rows(query, titles)), scale, bias)["score"]
        # Padding comes last in any ranking. (Lengths: comparing strings with "" takes ten times as long.)
        is_text = tf.cast(tf.strings.length(titles) > 0, tf.float32)
        return {"scores": tf.reshape(scores, tf.shape(titles)) * is_text}

    column = [tf.TensorSpec([None], tf.string, name=name) for name in fields]
    examples = tf.TensorSpec([None], tf.string, name="inputs")
    served = {
        "serving_default": tf.function(predict).get_concrete_function(**dict(zip(fields, column, strict=True))),
        "classify": tf.function(classify).get_concrete_function(examples),
    }
    if k == 1:
        served["regress"] = tf.function(regress).get_concrete_function(examples)
    if len(fields) == 2 and k == 1:
        served["rank"] = tf.function(rank).get_concrete_function(
            tf.TensorSpec([None], tf.string, name="query"), tf.TensorSpec([None, None], tf.string, name="titles")
        )
    return served


def export(
    student: Student,
    model_folder: Path,
    *,
    scale: float,
    bias: Sequence[float],
    warmup: Sequence[Sequence[str]],
    fingerprint: str,
    edge: str = "",
    decision: DecisionNumbers | None = None,
) -> Path:
    """Writes the next version of a model, or finds this very one as the last version; returns its folder.

    See `write_version`, and `signatures` for the calibration.

    Args:
      warmup: texts, one sequence a field, of the requests that the server replays before it serves.
      fingerprint: of all that the model was made from; says whether the last version is this one.
      edge: "int8" or "float" also writes that edge form, into `assets.extra/edge`; "" writes none.
      decision: from which score on a binary model answers "yes"; the card states it, the graph does not use it.
    """

    def write(folder: Path) -> tuple[dict[str, Any], list[Request]]:
        graph = ServedStudent(student)
        served = signatures(graph, scale, bias)
        module = tf.Module()
        module.tables = graph.tables  # dense layers are constants, so nothing of Keras is saved
        tf.saved_model.save(module, str(folder), signatures=served)
        if edge:
            from tfb2d.compress.tflite import write_edge

            write_edge(student, folder / EDGE, scale, bias, edge)
        about = {
            "tfb2d": __version__,
            "task": student.task.to_json(),
            # Not needed for scoring; a bench reads it to give fastText a table of the same size.
            "student": dataclasses.asdict(student.config),
            "signatures": sorted(served),
            "calibration": {"scale": float(scale), "bias": [float(b) for b in bias]},
            "decision": None if decision is None else dataclasses.asdict(decision),
            "hash_spec": text_spec.SPEC,
        }
        return about, warmup_requests(student.task.fields, warmup, "rank" in served)

    return write_version(model_folder, fingerprint, write)


def warmup_requests(fields: Sequence[str], texts: Sequence[Sequence[str]], rank: bool) -> list[Request]:
    """Returns a student's warm-up requests: single rows, all at once and, for pairs, rankings of one and two queries."""
    columns = [np.asarray(column, object) for column in texts]
    inputs = single_rows_and_all(dict(zip(fields, columns, strict=True)))
    requests: list[Request] = [("serving_default", each) for each in inputs]
    if rank:
        for queries in (columns[0][:1], np.resize(columns[0], 2)):
            requests.append(("rank", {"query": queries, "titles": np.tile(columns[1], (len(queries), 1))}))
    return requests
