"""Scores with an exported model: the SavedModel alone, strings in, probabilities out."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.atomic import read_json
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.model_folder import ABOUT, version_folder
from tfb2d.outcomes import Calibration

BATCH = 1024  # rows of one call: larger ones are no faster on a CPU

Float32 = NDArray[np.float32]


class Scorer:
    """Scores texts with an exported student.

    Args:
      model: a version's folder, or a model's folder, whose highest version is taken.

    Attributes:
      folder: the version's folder.
      about: what the export wrote of the model, `assets.extra/tfb2d.json`.
      task: the model's Task.
      kind: "student" or "twin".

    Raises:
      DataError: no SavedModel, or a SavedModel that tfb2d did not export.
      UserError: the model needs TF.Text, which cannot be imported.
    """

    def __init__(self, model: str | Path) -> None:
        self.folder = version_folder(model)
        if not (self.folder / ABOUT).exists():
            raise DataError(f"{self.folder} has no {ABOUT}; it is not a model that tfb2d exported")
        self.about: dict[str, Any] = read_json(self.folder / ABOUT)
        self.task = Task.from_json(self.about["task"])
        self.kind: str = self.about.get("kind", "student")
        import tensorflow as tf

        if self.about.get("needs"):
            from tfb2d import tf_text

            tf_text.register(self.folder)

        self._tf = tf
        self._model = tf.saved_model.load(str(self.folder))  # keeps the variables alive

    @property
    def calibration(self) -> Calibration:
        """Returns what turns the model's logits into its scores."""
        numbers = self.about.get("calibration", {"scale": 1.0, "bias": [0.0]})
        return Calibration(numbers["scale"], tuple(numbers["bias"]))

    @property
    def fingerprint(self) -> str:
        """Returns what the model was made from, or its version's folder where the export did not say."""
        return str(self.about.get("fingerprint", self.folder.name))

    @property
    def signatures(self) -> list[str]:
        """Returns the names of the model's signatures."""
        return sorted(self._model.signatures)

    def score(self, columns: Sequence[Sequence[str]], batch: int = BATCH) -> tuple[Float32, Float32]:
        """Returns calibrated probabilities and raw logits, each `[n]`, or `[n, k]` of a multi-class task.

        There is a sequence of n texts a field, in the order of `task.fields`; another number of them, or columns of
        different lengths, is a ValueError. `batch` is the rows of a call.
        """
        fields = self.task.fields
        lengths = {len(column) for column in columns}
        if len(columns) != len(fields) or len(lengths) > 1:
            raise ValueError(f"columns of {[len(c) for c in columns]} texts; the fields are {', '.join(fields)}")
        shape = (0, self.task.n_logits) if self.task.kind == "multiclass" else (0,)
        nothing = {"score": np.zeros(shape, np.float32), "logit": np.zeros(shape, np.float32)}
        texts = {field: list(column) for field, column in zip(fields, columns, strict=True)}
        parts = [nothing, *self._outputs("serving_default", texts, batch)]
        return np.concatenate([part["score"] for part in parts]), np.concatenate([part["logit"] for part in parts])

    def rank(self, query: str, titles: Sequence[str], batch: int = BATCH) -> Float32:
        """Returns the scores of titles for one query, `[n]`; a twin embeds the query once."""
        if self.kind != "twin":
            return self.score([[query] * len(titles), titles], batch)[0]
        vectors = self.embed(titles, "embed_title", batch)
        queries = np.broadcast_to(self.embed([query], "embed_query"), vectors.shape)
        pairs = {"query_embedding": queries, "title_embedding": vectors}
        scores = [part["score"] for part in self._outputs("score_embeddings", pairs, batch)]
        return np.concatenate([np.zeros(0, np.float32), *scores])

    def embed(self, texts: Sequence[str], signature: str = "embed", batch: int = BATCH) -> Float32:
        """Returns the vectors of texts, `[n, dim]`, by a signature of one text a row; raises DataError without it."""
        served = self._model.signatures
        if signature not in served:
            hint = (
                "use embed_query or embed_title"
                if self.kind == "twin"
                else "this student has no towers, so a text has no vector of its own; use score or rank"
            )
            raise DataError(f"{self.folder} has no signature {signature!r} but {', '.join(self.signatures)}: {hint}")
        (name,) = served[signature].structured_input_signature[1]
        outputs = served[signature].structured_outputs
        vectors = "embedding" if "embedding" in outputs else next(iter(outputs))
        parts = [part[vectors] for part in self._outputs(signature, {name: list(texts)}, batch)]
        return np.concatenate([np.zeros((0, outputs[vectors].shape[-1] or 0), np.float32), *parts])

    def _outputs(self, signature: str, inputs: Mapping[str, Any], batch: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Yields a signature's outputs, batch by batch; inputs are lists of texts or arrays, of `n` rows each."""
        call, rows = self._model.signatures[signature], len(next(iter(inputs.values())))
        for start in range(0, rows, batch):
            given = {name: self._tf.constant(values[start : start + batch]) for name, values in inputs.items()}
            yield {name: value.numpy() for name, value in call(**given).items()}


def field_columns(fields: Sequence[str], renamed: Sequence[str]) -> list[str]:
    """Returns the columns that hold a task's fields, from `field=column` settings; other fields keep their name.

    Raises DataError for a setting without "=", or of a field that the task lacks.
    """
    names = dict(zip(fields, fields, strict=True))
    for setting in renamed:
        field, equals, column = setting.partition("=")
        if not (equals and column):
            raise DataError(f"--fields takes field=column, not {setting!r}")
        if field not in names:
            near = difflib.get_close_matches(field, fields, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(fields)}"
            raise DataError(f"--fields: the model has no field {field!r}; {hint}")
        names[field] = column
    return list(names.values())
