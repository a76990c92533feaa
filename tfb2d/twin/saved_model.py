"""Writes a twin as a SavedModel that takes raw strings, in a version folder that TensorFlow Serving picks up."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d import __version__
from tfb2d.serving.same_rows import same_rows
from tfb2d.serving.version_folder import Request, single_rows_and_all, write_version
from tfb2d.tf_text import LIBRARY
from tfb2d.twin.inputs import WordPieceInputs
from tfb2d.twin.model import Twin
from tfb2d.twin.served import served_tower

KIND = "twin"  # what `assets.extra/tfb2d.json` says; of a student it says nothing


class ServedTwin(tf.Module):
    """A trained twin's towers and crossing layer, with all variables that the served functions read.

    How `weights` are stored: see `served_layers`.
    """

    def __init__(self, twin: Twin, weights: str) -> None:
        super().__init__()
        self.task, self.dim = twin.task, twin.config.dim
        self.query_tower = served_tower(twin.query_tower, weights)
        self.title_tower = self.query_tower if twin.shared else served_tower(twin.title_tower, weights)
        self._inputs = twin.query_tower.inputs, twin.title_tower.inputs
        self._crossing = twin.crossing
        self.crossing_weights = [variable.value for variable in twin.crossing.weights]

    def query(self, texts: tf.Tensor, constant: bool = False) -> tf.Tensor:
        """Embeds queries; see `ServedTower`."""
        return self.query_tower(texts, self._inputs[0], constant)

    def title(self, texts: tf.Tensor) -> tf.Tensor:
        """Embeds titles."""
        return self.title_tower(texts, self._inputs[1])

    def logits(self, queries: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """Crosses embeddings `[n, dim]` to logits `[n]`."""
        return self._crossing(queries, titles)


def signatures(twin: ServedTwin, scale: float, bias: float) -> dict[str, Callable]:
    """Returns the served functions of a twin, by signature name; QUERY and TITLE stand for the names of the task's fields.

    Args:
      twin: its served form; it holds the weights and must outlive the functions.
      scale, bias: the calibration, `score = sigmoid(scale * logit + bias)`.

    Returns:
      Concrete functions by signature name:
        `serving_default`: QUERY and TITLE, string `[n]` -> `score`, `logit`, float32 `[n]`.
        `rank`: `query` string `[b]`, `titles` string `[b, n]`, "" for padding -> `scores` float32 `[b, n]`, 0 for padding.
          Each query is embedded once.
        `embed_query`: QUERY string `[n]` -> `embedding` float32 `[n, dim]`, of length 1.
        `embed_title`: TITLE string `[n]` -> `embedding`.
        `score_embeddings`: `query_embedding`, `title_embedding` float32 `[n, dim]` -> `score`, `logit`.
    """
    query_field, title_field = twin.task.fields

    def scored(logits: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.sigmoid(scale * logits + bias), "logit": logits}

    def predict(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
        queries, titles = same_rows(texts[query_field], texts[title_field])
        return scored(twin.logits(twin.query(queries), twin.title(titles)))

    def rank(query: tf.Tensor, titles: tf.Tensor) -> dict[str, tf.Tensor]:
        query, titles = same_rows(query, titles)
        at = tf.where(tf.not_equal(titles, ""))
        queries = tf.gather(twin.query(query), at[:, 0])
        scores = scored(twin.logits(queries, twin.title(tf.gather_nd(titles, at))))["score"]
        return {"scores": tf.scatter_nd(at, scores, tf.shape(titles, at.dtype))}

    def embed_query(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": twin.query(texts[query_field], constant=True)}

    def embed_title(**texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": twin.title(texts[title_field])}

    def score_embeddings(query_embedding: tf.Tensor, title_embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        return scored(twin.logits(*same_rows(query_embedding, title_embedding)))

    def concrete(function: Callable, **specs: tf.TensorSpec) -> Callable:
        named = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()}
        made: Callable = tf.function(function, autograph=False).get_concrete_function(**named)
        return made

    texts, vectors = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, twin.dim], tf.float32)
    return {
        "serving_default": concrete(predict, **{query_field: texts, title_field: texts}),
        "rank": concrete(rank, query=texts, titles=tf.TensorSpec([None, None], tf.string)),
        "embed_query": concrete(embed_query, **{query_field: texts}),
        "embed_title": concrete(embed_title, **{title_field: texts}),
        "score_embeddings": concrete(score_embeddings, query_embedding=vectors, title_embedding=vectors),
    }


def export(
    twin: Twin,
    model_folder: Path,
    *,
    scale: float,
    bias: float,
    warmup: Sequence[Sequence[str]],
    fingerprint: str,
    weights: str = "",
    decision: Mapping[str, float] | None = None,
) -> Path:
    """Writes the next version of a model, or finds this very one as the last version; returns its folder.

    See `write_version`, and `signatures` for the calibration.

    Args:
      warmup: queries and titles of the requests that the server replays before it serves.
      fingerprint: of all that the model was made from.
      weights: see `served_layers`; "" is the twin's own setting.
      decision: from which score on a binary twin answers "yes" (`outcomes.DecisionNumbers`), for the card.
    """
    weights = weights or twin.config.weights

    def write(folder: Path) -> tuple[dict[str, Any], list[Request]]:
        served = ServedTwin(twin, weights)
        functions = signatures(served, scale, bias)
        tf.saved_model.save(served, str(folder), signatures=functions)
        inputs = [twin.query_tower.inputs, twin.title_tower.inputs]
        about = {
            "tfb2d": __version__,
            "kind": KIND,
            "task": twin.task.to_json(),
            "dim": twin.config.dim,
            "crossing": twin.config.crossing,
            "config": {**dataclasses.asdict(twin.config), "weights": weights},
            "signatures": sorted(functions),
            "calibration": {"scale": float(scale), "bias": [float(bias)]},
            "decision": None if decision is None else dict(decision),
            "needs": [LIBRARY] if any(isinstance(each, WordPieceInputs) for each in inputs) else [],
        }
        return about, warmup_requests(twin, warmup)

    return write_version(model_folder, fingerprint, write)


def warmup_requests(twin: Twin, texts: Sequence[Sequence[str]]) -> list[Request]:
    """Returns warm-up requests for every signature, from queries and titles."""
    query_field, title_field = twin.task.fields
    queries, titles = (np.asarray(column, object) for column in texts)
    requests: list[Request] = []
    for signature, columns in (
        ("embed_query", {query_field: queries}),
        ("embed_title", {title_field: titles}),
        ("serving_default", {query_field: queries, title_field: titles}),
    ):
        requests += [(signature, inputs) for inputs in single_rows_and_all(columns)]
    vector = np.full((1, twin.config.dim), twin.config.dim**-0.5, np.float32)
    return [
        *requests,
        ("rank", {"query": queries[:1], "titles": titles[None]}),
        ("score_embeddings", {"query_embedding": vector, "title_embedding": vector}),
    ]
