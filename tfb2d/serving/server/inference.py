"""Answers Classify, Regress and MultiInference: serialized tf.Example in, labels and scores out.

`servable` calls it. The checks and their words are those of classifier.cc, regressor.cc and multi_inference.cc in
tensorflow_serving/servables/tensorflow.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import inference_pb2, input_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.session import DEFAULT_SIGNATURE, Session
from tfb2d.serving.server.steps import Run

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_DEBUG_PREFIX = "goo.gle/debugproto    \n"  # protobuf's mark on debug strings, as the recorded server printed it


class _Task(NamedTuple):
    sent_name: str  # of the signature; "" is the default one
    definition: Any
    method: str
    outputs: dict[str, str]  # "classes", "scores" or "outputs" -> tensor name


def answer(session: Session, run: Run, rpc: str, request: Any, response: Any, seconds: float | None) -> None:
    """Fills the response to Classify, Regress or MultiInference; the tasks of the last share a run.

    `run` is the session's, or a batching one; `seconds` is the time left, None no limit.
    """
    if rpc == "MultiInference":
        tasks = _tasks(session, request)
    else:
        method = CLASSIFY if rpc == "Classify" else REGRESS
        tasks = [_task(session, request.model_spec.signature_name, method, "No signature was found with the name: ")]
    examples = serialized_examples(request.input)
    feed = np.empty(len(examples), object)
    feed[:] = examples
    names = tuple(sorted({name for task in tasks for name in task.outputs.values()}))
    feeds = {task.definition.inputs["inputs"].name: feed for task in tasks}
    for name in (*feeds, *names):
        session.check(name)
    values = dict(zip(names, run(feeds, names, seconds), strict=True))
    for task in tasks:
        if rpc == "MultiInference":
            part = response.results.add()
            result = part.classification_result if task.method == CLASSIFY else part.regression_result
        else:
            part, result = response, response.result
        result.SetInParent()
        part.model_spec.signature_name = task.sent_name
        arrays = {key: np.asarray(values[name]) for key, name in task.outputs.items()}
        if task.method == CLASSIFY:
            _fill_classes(result, len(examples), arrays)
        else:
            _fill_regressions(result, len(examples), arrays["outputs"])


def _task(session: Session, sent_name: str, method: str, unknown: str) -> _Task:
    definition = session.signatures.get(sent_name or DEFAULT_SIGNATURE)
    if definition is None:
        raise invalid(unknown + (sent_name or DEFAULT_SIGNATURE))
    outputs = (_classification_outputs if method == CLASSIFY else _regression_outputs)(definition)
    return _Task(sent_name, definition, method, outputs)


def _tasks(session: Session, request: inference_pb2.MultiInferenceRequest) -> list[_Task]:
    tasks: dict[str, _Task] = {}
    model = ""
    for task in request.tasks:
        sent_name = task.model_spec.signature_name
        name = sent_name or DEFAULT_SIGNATURE
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if model and task.model_spec.name != model:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        model = task.model_spec.name
        if name in tasks:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if task.method_name not in (CLASSIFY, REGRESS) and name in session.signatures:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        tasks[name] = _task(session, sent_name, task.method_name, "Requested signature not found in model graph: ")
    return list(tasks.values())


def serialized_examples(data: input_pb2.Input) -> list[bytes]:
    """Returns the examples of an Input, with the shared context merged into each."""
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


def _check_input(definition: Any, what: str) -> None:
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in definition.inputs:
        raise invalid(f"No {what} inputs found in SignatureDef: {_debug_string(definition)}")


def _debug_string(definition: Any) -> str:
    return _DEBUG_PREFIX + text_format.MessageToString(definition)


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
    return types_pb2.DataType.Name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum)


def _fill_classes(result: Any, count: int, arrays: Mapping[str, np.ndarray]) -> None:
    for key, kind, array_type in (("classes", "DT_STRING", object), ("scores", "DT_FLOAT", np.float32)):
        if (array := arrays.get(key)) is None:
            continue
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if array.dtype != array_type:
            raise invalid(f"Expected {key} Tensor of {kind}. Got: {_kind(array)}")
        if array.shape[0] != count:
            raise invalid(f"Expected {key} output batch size of {count}. Got: {array.shape[0]}")
    widths = [arrays[key].shape[1] for key in ("classes", "scores") if key in arrays]
    if len(set(widths)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    for row in range(count):
        classified = result.classifications.add()
        for column in range(widths[0]):
            item = classified.classes.add()
            if "classes" in arrays:
                item.label = arrays["classes"][row, column].decode("utf-8", "replace")
            if "scores" in arrays:
                item.score = arrays["scores"][row, column]


def _fill_regressions(result: Any, count: int, array: np.ndarray) -> None:
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        expected = "Expected output Tensor shape to be either [batch_size] or [batch_size, 1]"
        raise invalid(f"{expected} but got {_shape(array)}")
    if array.shape[0] != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_kind(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
