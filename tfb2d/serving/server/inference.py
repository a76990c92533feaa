"""Classify, Regress and MultiInference: serialized tf.Example in, labels and scores out.

The checks and their words: tensorflow_serving/servables/tensorflow/{classifier,regressor,multi_inference}.cc.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.predict import DEFAULT_SIGNATURE, Run
from tfb2d.serving.server.session import Session

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_DEBUG_PREFIX = "goo.gle/debugproto    \n"  # protobuf's mark on debug strings, as the recorded server printed it


class Inference:
    """The three RPCs on one version.

    Args:
      session: the loaded version.
      run: the session's run, or a batching one.
    """

    def __init__(self, session: Session, run: Run) -> None:
        self._session = session
        self._run = run

    def classify(self, request: classification_pb2.ClassificationRequest, response: Any, seconds: float | None) -> None:
        """Fills a ClassificationResponse."""
        _, definition = self._signature(request.model_spec, "No signature was found with the name: ")
        outputs = _classification_outputs(definition)
        count, values = self._evaluate(request.input, [definition], outputs, seconds)
        _fill_classes(response.result, count, outputs, values)
        response.model_spec.signature_name = request.model_spec.signature_name  # "" where the request names none

    def regress(self, request: regression_pb2.RegressionRequest, response: Any, seconds: float | None) -> None:
        """Fills a RegressionResponse."""
        _, definition = self._signature(request.model_spec, "No signature was found with the name: ")
        outputs = _regression_outputs(definition)
        count, values = self._evaluate(request.input, [definition], outputs, seconds)
        _fill_regressions(response.result, count, outputs["outputs"], values)
        response.model_spec.signature_name = request.model_spec.signature_name

    def multi(self, request: inference_pb2.MultiInferenceRequest, response: Any, seconds: float | None) -> None:
        """Fills a MultiInferenceResponse; all tasks share one run."""
        tasks = self._tasks(request)
        fetches = {name: name for _, _, _, outputs in tasks for name in outputs.values()}
        count, values = self._evaluate(request.input, [definition for _, definition, _, _ in tasks], fetches, seconds)
        for task, (_, _, method, outputs) in zip(request.tasks, tasks, strict=True):
            result = response.results.add()
            result.model_spec.signature_name = task.model_spec.signature_name
            if method == CLASSIFY:
                _fill_classes(result.classification_result, count, outputs, values)
            else:
                _fill_regressions(result.regression_result, count, outputs["outputs"], values)

    def _tasks(self, request: inference_pb2.MultiInferenceRequest) -> list[tuple[str, Any, str, dict[str, str]]]:
        tasks: list[tuple[str, Any, str, dict[str, str]]] = []
        model = ""
        for task in request.tasks:
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if model and task.model_spec.name != model:
                raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            model = task.model_spec.name
            name, definition = self._signature(task.model_spec, "Requested signature not found in model graph: ")
            if any(name == other for other, _, _, _ in tasks):
                raise invalid(f"Duplicate evaluation of signature: {name}")
            if task.method_name == CLASSIFY:
                outputs = _classification_outputs(definition)
            elif task.method_name == REGRESS:
                outputs = _regression_outputs(definition)
            else:
                raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
            tasks.append((name, definition, task.method_name, outputs))
        return tasks

    def _signature(self, spec: Any, unknown: str) -> tuple[str, Any]:
        name = spec.signature_name or DEFAULT_SIGNATURE
        definition = self._session.signatures.get(name)
        if definition is None:
            raise invalid(unknown + name)
        return name, definition

    def _evaluate(
        self, data: input_pb2.Input, definitions: Sequence[Any], outputs: Mapping[str, str], seconds: float | None
    ) -> tuple[int, dict[str, np.ndarray]]:
        examples = serialized_examples(data)
        feed = np.empty(len(examples), object)
        feed[:] = examples
        names = tuple(sorted(set(outputs.values())))
        feeds = {definition.inputs["inputs"].name: feed for definition in definitions}
        for name in (*feeds, *names):
            self._session.check(name)
        return len(examples), dict(zip(names, self._run(feeds, names, seconds), strict=True))


def serialized_examples(data: input_pb2.Input) -> list[bytes]:
    """Returns the examples of an Input, with the shared context merged into each.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    kind = data.WhichOneof("kind")
    if kind is None:
        raise invalid("Input is empty.")
    if kind == "example_list":
        examples = [example.SerializeToString() for example in data.example_list.examples]
    else:
        context = data.example_list_with_context.context.SerializeToString()
        # Concatenated messages merge. Of a feature that both have, TensorFlow's parser takes the later one: the example's.
        examples = [context + example.SerializeToString() for example in data.example_list_with_context.examples]
    if not examples:
        raise invalid("Input is empty.")
    return examples


def _debug_string(definition: Any) -> str:
    return _DEBUG_PREFIX + text_format.MessageToString(definition)


def _check_input(definition: Any, what: str) -> None:
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" in definition.inputs:
        return
    raise invalid(f"No {what} inputs found in SignatureDef: {_debug_string(definition)}")


def _classification_outputs(definition: Any) -> dict[str, str]:
    count = len(definition.outputs)
    if len(definition.inputs) == 1 and count not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {count}")
    _check_input(definition, "classification")
    outputs = {key: definition.outputs[key].name for key in ("classes", "scores") if key in definition.outputs}
    if not outputs:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: '
            f"{_debug_string(definition)}"
        )
    return outputs


def _regression_outputs(definition: Any) -> dict[str, str]:
    if len(definition.inputs) == 1 and len(definition.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    _check_input(definition, "regression")
    if "outputs" not in definition.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {_debug_string(definition)}")
    return {"outputs": definition.outputs["outputs"].name}


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _kind(array: np.ndarray) -> str:
    names = {"object": "DT_STRING", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "bool": "DT_BOOL"}
    return names.get(str(array.dtype), "DT_" + str(array.dtype).upper())


def _fill_classes(result: Any, count: int, outputs: Mapping[str, str], values: Mapping[str, np.ndarray]) -> None:
    arrays = {key: np.asarray(values[name]) for key, name in outputs.items()}
    for key, kind, array_type in (("classes", "DT_STRING", object), ("scores", "DT_FLOAT", np.float32)):
        array = arrays.get(key)
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if array.dtype != array_type:
            raise invalid(f"Expected {key} Tensor of {kind}. Got: {_kind(array)}")
        if array.shape[0] != count:
            raise invalid(f"Expected {key} output batch size of {count}. Got: {array.shape[0]}")
    classes, scores = arrays.get("classes"), arrays.get("scores")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    width = next(iter(arrays.values())).shape[1]
    for row in range(count):
        classified = result.classifications.add()
        for column in range(width):
            item = classified.classes.add()
            if classes is not None:
                item.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                item.score = scores[row, column]


def _fill_regressions(result: Any, count: int, name: str, values: Mapping[str, np.ndarray]) -> None:
    array = np.asarray(values[name])
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if array.shape[0] != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_kind(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
