"""Turns logged requests into rows: texts and the scores of the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow_serving.apis import prediction_log_pb2

from tfb2d.data.task import Task
from tfb2d.outcomes import Calibration
from tfb2d.serving import wire

Floats = NDArray[np.float32]
_YEAR_10000 = 253_402_300_800  # seconds since 1970; datetime ends there


@dataclass(frozen=True)
class LoggedRequest:
    """Holds the rows of a logged request."""

    texts: list[list[bytes]]  # n texts a field of the task, the bytes of the request
    scores: Floats  # `[n, k]`, NaN where the log has no score
    model: str  # that answered
    version: int  # of the model; 0 where it is not logged
    time: int  # seconds since 1970; 0 where it is not logged or impossible (milliseconds)
    padding: int = 0  # empty titles of a ranking, which are no rows
    ranked: bool = False  # whether it was a ranking: queries with their titles


class Ignored(Exception):
    """Marks a record without rows; its message is the reason under which it is counted."""


@dataclass(frozen=True)
class Unroller:
    """Turns PredictionLog records into rows.

    Predict requests of `serving_default` and `rank`, Classify, Regress and MultiInference have rows. Of MultiInference the
    first task with an answer counts. Session runs, streams and requests without the task's fields have no rows.
    """

    task: Task  # of the model; requests have its fields
    calibration: Calibration  # of the model, for logs that hold logits instead of scores
    scores: bool = True  # whether to read the answers; otherwise all scores are NaN

    def read(self, record: bytes) -> LoggedRequest:
        """Returns the rows of a serialized PredictionLog.

        Raises Ignored where it has no rows, ValueError where it is no PredictionLog or its tensors are malformed.
        """
        log = prediction_log_pb2.PredictionLog()
        try:
            log.ParseFromString(record)
        except DecodeError:
            raise ValueError("not a PredictionLog") from None
        kind = log.WhichOneof("log_type")
        if kind is None:
            raise Ignored("no request")
        if kind not in ("predict_log", "classify_log", "regress_log", "multi_inference_log"):
            raise Ignored(kind.removesuffix("_log").replace("_", " "))
        entry = getattr(log, kind)
        if not self.scores:
            entry.ClearField("response")
        answer: Any = entry.response
        spec = log.log_metadata.model_spec
        if not spec.name and kind != "multi_inference_log":
            spec = entry.request.model_spec
        padding, ranked = 0, False
        if kind == "predict_log":
            texts, scores, padding, ranked = self._predicted(entry.request, answer)
        else:
            texts = self._examples(entry.request.input)
            if kind == "multi_inference_log":
                answer = next((part for part in answer.results if part.WhichOneof("result")), None)
                which = answer.WhichOneof("result") if answer else ""
                scores = self._results(which, getattr(answer, which) if which else None, len(texts[0]))
            else:
                scores = self._results(kind, answer.result, len(texts[0]))
        time = int(log.log_metadata.timestamp_secs)
        time = time if 0 < time < _YEAR_10000 else 0
        return LoggedRequest(texts, scores, spec.name, int(spec.version.value), time, padding, ranked)

    def _predicted(self, request: Any, response: Any) -> tuple[list[list[bytes]], Floats, int, bool]:
        fields, names = self.task.fields, set(request.inputs)
        outputs = response.outputs
        ranking = names == {"query", "titles"} and len(request.inputs["titles"].tensor_shape.dim) == 2
        if names == set(fields) and not ranking:
            arrays = [_strings(request.inputs[name]) for name in fields]
            if any(array.ndim != 1 or len(array) != len(arrays[0]) for array in arrays):
                raise ValueError("inputs that are not one text a row")
            return [list(array) for array in arrays], self._scores(outputs, len(arrays[0])), 0, False
        if ranking and len(fields) == 2:
            query, titles = _strings(request.inputs["query"]), _strings(request.inputs["titles"])
            if query.shape != titles.shape[:1]:
                raise ValueError("a ranking whose queries and titles do not fit")
            real = titles != b""
            texts = [list(np.repeat(query, real.sum(1))), list(titles[real])]
            if "scores" not in outputs:
                return texts, self._missing(len(texts[0])), int((~real).sum()), True
            scores: Any = wire.to_numpy(outputs["scores"]).astype(np.float32)
            if scores.ndim != 2 or len(scores) != len(titles) or scores.shape[1] < titles.shape[1]:
                raise ValueError(f"scores of the shape {scores.shape} for titles of {titles.shape}")
            return texts, scores[:, : titles.shape[1]][real][:, None], int((~real).sum()), True
        raise Ignored(f"inputs {', '.join(sorted(names))}" if names else "no inputs")

    def _scores(self, outputs: Any, rows: int) -> Floats:
        for name in ("score", "logit"):
            if name in outputs:
                values: Any = wire.to_numpy(outputs[name]).astype(np.float32)
                if values.ndim == 1:
                    values = values[:, None]
                shape = (rows, self.task.n_logits)
                if values.shape != shape:
                    raise ValueError(f"{name} of the shape {values.shape} for {rows} rows")
                if name == "score":
                    return values
                flat = values[:, 0] if self.task.n_logits == 1 else values
                return np.asarray(self.calibration.apply(flat), np.float32).reshape(shape)
        return self._missing(rows)

    def _missing(self, rows: int) -> Floats:
        return np.full((rows, self.task.n_logits), np.nan, np.float32)

    def _examples(self, given: Any) -> list[list[bytes]]:
        kind = given.WhichOneof("kind")
        if kind is None:
            raise Ignored("no examples")
        listed = getattr(given, kind)
        shared = listed.context.features.feature if kind == "example_list_with_context" else {}
        texts: list[list[bytes]] = [[] for _ in self.task.fields]
        for number, example in enumerate(listed.examples):
            for column, name in zip(texts, self.task.fields, strict=True):
                # TensorFlow's parser prefers an example's own feature to the context's, unless it has no kind.
                own = example.features.feature.get(name)
                feature = own if own is not None and own.WhichOneof("kind") else shared.get(name)
                values: Sequence[bytes] = feature.bytes_list.value if feature is not None else ()
                if len(values) != 1:
                    raise ValueError(f"example {number} has {len(values)} texts in {name!r}")
                column.append(values[0])
        return texts

    def _results(self, kind: str, result: Any, rows: int) -> Floats:
        scores = self._missing(rows)
        values: list[list[float]] = []
        if kind.startswith("regress"):
            values = [[answer.value] for answer in result.regressions]
        elif kind.startswith("classif"):
            values = [[part.score for part in answer.classes] for answer in result.classifications]
            if self.task.n_logits == 1:  # of two classes the second is what a single score is of
                values = [of_row[1:] if len(of_row) == 2 else [] for of_row in values]
        if values and len(values) != rows:
            raise ValueError(f"{len(values)} answers for {rows} examples")
        for row, of_row in enumerate(values):
            if len(of_row) == self.task.n_logits:
                scores[row] = of_row
        return scores


def _strings(tensor: Any) -> NDArray[np.object_]:
    if tensor.dtype != wire.STRING:
        raise Ignored("inputs that are no text")
    return wire.to_numpy(tensor, repeat_last=True)  # as the server read it
