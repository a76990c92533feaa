"""Turns the JSON document of a REST request into the protobuf request that gRPC clients send.

`rest` calls it after `json_body`. Formats and messages are those of tensorflow_serving/util/json_tensor.cc.
"""

import math
from collections.abc import Mapping
from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.json_body import from_base64, is_base64, json_type, pretty, to_bytes, to_name, wrong
from tfb2d.serving.server.session import DEFAULT_SIGNATURE
from tfb2d.serving.server.tensors import KINDS, type_name

_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE)
_INT32 = (-(2**31), 2**31 - 1)
_RANGES = {  # of integers; the official server lets all small ones be as large as int32, and cuts them
    **dict.fromkeys((types_pb2.DT_INT8, types_pb2.DT_INT16, types_pb2.DT_INT32, types_pb2.DT_UINT8), _INT32),
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}


def signature_name(document: Mapping[str, Any]) -> str:
    """Returns the document's signature_name; the default where it is missing or empty."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise wrong(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return to_name(name) or DEFAULT_SIGNATURE


def fill_predict(request: predict_pb2.PredictRequest, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Fills a PredictRequest's inputs from a body; `inputs` are the signature's, alias -> TensorInfo.

    Returns whether the body was in row format ("instances").
    """
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {signature_name(document)}")
    by_row, by_column = "instances" in document, "inputs" in document
    if by_row and by_column:
        raise wrong(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if by_row:
        _fill_rows(request, document, inputs)
    elif by_column:
        _fill_columns(request, document["inputs"], inputs)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return by_row


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _fill_rows(request: predict_pb2.PredictRequest, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise wrong(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise wrong(document, "No values in 'instances' array")
    named = _is_object(rows[0])
    if not named and len(inputs) > 1:
        expected = "list of objects as multiple input tensors required as per tensorinfo_map"
        raise invalid(f"instances is a plain list, but expecting {expected}")
    builders = {name: _Builder(info.dtype) for name, info in inputs.items()}
    for index, row in enumerate(rows):
        if _is_object(row) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {index} of input list")
        for name, value in (row if named else {next(iter(inputs)): row}).items():
            try:
                if name not in builders:
                    raise invalid(f"JSON object: does not have named input: {name}")
                builders[name].add(value)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid(f"Failed to process element: {index}{key} of 'instances' list. Error: {error}") from None
        if named and len(row) != len(inputs):
            expected = f"keys must be equal to: {','.join(sorted(inputs))}"
            where = f"Failed to process element: {index} of 'instances' list."
            raise invalid(f"{where} JSON object: {pretty(row)} {expected}")
    for name, builder in builders.items():
        builder.finish(request.inputs[name], len(rows))


def _fill_columns(request: predict_pb2.PredictRequest, document: Any, inputs: Mapping[str, Any]) -> None:
    values = document
    if not _is_object(document):
        if len(inputs) > 1:
            expected = "an object as multiple input tensors required as per tensorinfo_map"
            raise invalid(f"inputs is a plain value/list, but expecting {expected}")
        values = dict.fromkeys(inputs, document)
    for name, info in sorted(inputs.items()):
        if name not in values:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        builder = _Builder(info.dtype)
        builder.add(values[name])
        builder.finish(request.inputs[name], None)


class _Builder:
    """Builds a tensor from JSON values of one shape."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._shape: list[int] | None = None
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Appends a value; the first one gives the shape."""
        before, shape = len(self._values), _shape(value)
        self._flatten(value, 0, shape)
        if self._shape is None:
            self._shape = shape
        elif (size := len(self._values) - before) != math.prod(self._shape):
            raise invalid(f"Expecting tensor size: {math.prod(self._shape)} but got: {size}")
        elif shape != self._shape:
            expected, got = (f"[{','.join(map(str, sizes))}]" for sizes in (self._shape, shape))
            raise invalid(f"Expecting shape {expected} but got: {got}")

    def _flatten(self, value: Any, level: int, shape: list[int]) -> None:
        rank = len(shape)
        if not isinstance(value, list):
            if level != rank:
                raise wrong(value, f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}")
            self._values.append(_leaf(value, self._dtype))
            return
        if level >= rank or len(value) != shape[level]:
            expected = f"size: {shape[level]}" if level < rank else f"level < {rank}"
            raise invalid(f"Encountered list of unexpected size: {len(value)} at level: {level} expected {expected}")
        for item in value:
            self._flatten(item, level + 1, shape)

    def finish(self, proto: tensor_pb2.TensorProto, rows: int | None) -> None:
        """Writes the tensor; `rows` becomes its first dimension."""
        proto.dtype = self._dtype
        proto.tensor_shape.SetInParent()
        for size in [*([] if rows is None else [rows]), *(self._shape or [])]:
            proto.tensor_shape.dim.add(size=size)
        if self._values:
            getattr(proto, KINDS[self._dtype][1]).extend(self._values)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _leaf(value: Any, dtype: int) -> Any:
    plain = type(value)
    if dtype == types_pb2.DT_STRING and plain is str:
        return to_bytes(value)
    if dtype == types_pb2.DT_STRING and plain is dict:
        if not is_base64(value):
            raise wrong(value, "not formatted correctly for base64 data")
        return from_base64(value)
    if dtype == types_pb2.DT_BOOL and plain is bool:
        return value
    if dtype in _FLOATS and plain in (int, float):
        try:
            return float(value)
        except OverflowError:
            raise wrong(value, "is too big for a double") from None
    if dtype in _RANGES and plain is int and _RANGES[dtype][0] <= value <= _RANGES[dtype][1]:
        return value
    if dtype not in (types_pb2.DT_STRING, types_pb2.DT_BOOL, *_FLOATS, *_RANGES):
        message = f"Conversion of JSON Value: {pretty(value)} to type: {type_name(dtype)}"
        raise StatusError(Code.UNIMPLEMENTED, message)
    raise wrong(value, f"Type: {json_type(value)} is not of expected type: {type_name(dtype)}")


def fill_examples(data: input_pb2.Input, document: Mapping[str, Any]) -> None:
    """Fills an Input from "examples" and "context"."""
    target = data.example_list.examples
    if "context" in document:
        _fill_example(data.example_list_with_context.context, document["context"])
        target = data.example_list_with_context.examples
    if "examples" not in document:
        raise wrong(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise wrong(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise wrong(document, "'examples' value is an empty array")
    for example in examples:
        _fill_example(target.add(), example)


def _fill_example(example: example_pb2.Example, document: Any) -> None:
    if not isinstance(document, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_type(document)}")
    for name, value in document.items():
        feature = example.features.feature[to_name(name)]
        for item in value if isinstance(value, list) else [value]:
            _add_to_feature(feature, name, item)


def _add_to_feature(feature: feature_pb2.Feature, name: str, value: Any) -> None:
    """Adds a value to a feature, all of whose values are of one kind: 2 is no float, and 2.0 no integer."""
    if isinstance(value, str) or is_base64(value):
        kind, value = "bytes", to_bytes(value) if isinstance(value, str) else from_base64(value)
    elif isinstance(value, int):  # true and false count as 1 and 0
        kind, value = "int64", int(value)
    elif isinstance(value, float):
        kind = "float"
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {json_type(value)}")
    before = feature.WhichOneof("kind")
    if before not in (None, f"{kind}_list"):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {before.removesuffix('_list')}")
    if kind == "int64" and not -(2**63) <= value < 2**63:
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, f"{kind}_list").value.append(value)
