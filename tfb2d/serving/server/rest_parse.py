"""REST request bodies to requests; the words are those of tensorflow_serving/util/json_tensor.cc."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from tfb2d.serving.server.errors import ServingError, invalid
from tfb2d.serving.server.inference import type_name
from tfb2d.serving.server.predict import DEFAULT_SIGNATURE
from tfb2d.serving.server.rest_format import pretty
from tfb2d.serving.server.tensors import KINDS

# Python's parser and RapidJSON's, on the same mistakes.
_PARSE_ERRORS = (
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Expecting ',' delimiter", "Missing a comma or ] after an array element."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\uXXXX", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\escape", "Invalid escape character in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Extra data", "The document root must not be followed by other values."),
)
_INTEGER_RANGES = {
    types_pb2.DT_INT8: (-(2**7), 2**7 - 1),
    types_pb2.DT_INT16: (-(2**15), 2**15 - 1),
    types_pb2.DT_INT32: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT8: (0, 2**8 - 1),
    types_pb2.DT_UINT16: (0, 2**16 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}


def parse_json(body: bytes) -> dict[str, Any]:
    """The object of a body.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        text = next((ours for theirs, ours in _PARSE_ERRORS if error.msg.startswith(theirs)), "Invalid value.")
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise invalid(f"JSON Parse error: {text} at offset: {offset}") from None
    except (RecursionError, ValueError):  # nested too deep; an integer of thousands of digits
        raise invalid("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from None
    if not isinstance(value, dict):
        raise _wrong(value, "Is not object")
    return value


def _wrong(value: Any, what: str) -> ServingError:
    return invalid(f"JSON Value: {pretty(value)} {what}")


def signature_name(document: Mapping[str, Any]) -> str:
    """The document's signature_name, or the default.

    Raises:
      ServingError: it is no string.
    """
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise _wrong(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def fill_predict(request: predict_pb2.PredictRequest, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Fills a PredictRequest's inputs.

    Args:
      request: it.
      document: the body.
      inputs: alias -> TensorInfo of the signature.

    Returns:
      Whether the body was in row format ("instances").

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    rows, columns = "instances" in document, "inputs" in document
    if rows and columns:
        raise _wrong(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if rows:
        _fill_rows(request, document, inputs)
    elif columns:
        _fill_columns(request, document["inputs"], inputs)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return rows


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _fill_rows(request: predict_pb2.PredictRequest, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    rows = document["instances"]
    shown = {"instances": rows}
    if not isinstance(rows, list):
        raise _wrong(shown, "Expecting 'instances' to be an list/array")
    if not rows:
        raise _wrong(shown, "No values in 'instances' array")
    named = _is_object(rows[0])
    if not named and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    builders: dict[str, _Builder] = {}
    for number, row in enumerate(rows):
        where = f"Failed to process element: {number}"
        if _is_object(row) != named:
            expected, got = ("object", "value/list") if named else ("value/list", "object")
            raise _wrong(row, f"Expecting {expected} but got {got} at input list")
        items = row if named else {next(iter(inputs)): row}
        for name, value in items.items():
            key = f" key: {name}" if named else ""
            if name not in inputs:
                break  # reported below
            try:
                builder = builders.setdefault(name, _Builder(inputs[name].dtype))
                builder.add(value)
            except ServingError as error:
                raise invalid(f"{where}{key} of 'instances' list. Error: {error}") from None
        if named and set(items) != set(inputs):
            raise invalid(
                f"{where} of 'instances' list. JSON object: {pretty(row)} keys must be equal to:"
                f" {','.join(sorted(inputs))}"
            )
    for name, builder in builders.items():
        builder.finish(request.inputs[name], len(rows))


def _fill_columns(request: predict_pb2.PredictRequest, document: Any, inputs: Mapping[str, Any]) -> None:
    if _is_object(document):
        for name in sorted(inputs):
            if name not in document:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        values = {name: document[name] for name in inputs}
    elif len(inputs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
        )
    else:
        values = dict.fromkeys(inputs, document)
    for name, value in values.items():
        builder = _Builder(inputs[name].dtype)
        builder.add(value)
        builder.finish(request.inputs[name], None)


class _Builder:
    """One tensor, from one or more JSON values of the same shape."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._shape: list[int] | None = None
        self._values: list[Any] = []
        if dtype not in KINDS or KINDS[dtype].field in ("scomplex_val", "dcomplex_val", "half_val"):
            raise invalid(f"JSON values of type {type_name(dtype)} are not supported")

    def add(self, value: Any) -> None:
        """Appends a value; the first one gives the shape."""
        before = len(self._values)
        shape = _shape(value)
        if self._shape is None:
            self._shape = shape
        self._flatten(value, 0, len(self._shape) if before else len(shape), shape)
        size = 1
        for extent in self._shape:
            size *= extent
        if len(self._values) - before != size:
            raise invalid(f"Expecting tensor size: {size} but got: {len(self._values) - before}")
        if shape != self._shape:
            raise invalid(f"Expecting tensor shape: {self._shape} but got: {shape}")

    def _flatten(self, value: Any, level: int, rank: int, shape: list[int]) -> None:
        if not isinstance(value, list):
            if level != rank:
                raise _wrong(
                    value, f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank + 1}"
                )
            self._values.append(_leaf(value, self._dtype))
            return
        if level >= rank:
            raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for one in value:
            self._flatten(one, level + 1, rank, shape)

    def finish(self, proto: tensor_pb2.TensorProto, rows: int | None) -> None:
        """Writes the tensor; `rows` becomes its first dimension."""
        proto.dtype = self._dtype
        for size in [*([] if rows is None else [rows]), *(self._shape or [])]:
            proto.tensor_shape.dim.add(size=size)
        getattr(proto, KINDS[self._dtype].field).extend(self._values)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _leaf(value: Any, dtype: int) -> Any:
    field = KINDS[dtype].field
    if field == "string_val":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if _is_base64(value):
            return _base64(value)
    elif field == "bool_val":
        if isinstance(value, bool):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if field in ("float_val", "double_val"):
            try:
                return float(value)
            except OverflowError:
                pass
        elif isinstance(value, int) and dtype in _INTEGER_RANGES:
            low, high = _INTEGER_RANGES[dtype]
            if low <= value <= high:
                return value
    raise _wrong(value, f"Type: {_json_type(value)} is not of expected type: {type_name(dtype)}")


def _json_type(value: Any) -> str:
    if value is None:
        return "Null"
    kinds = ((bool, "Bool"), (int | float, "Number"), (str, "String"), (list, "Array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "Object")


def _base64(value: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(value, "Unable to base64 decode") from None


def fill_examples(data: input_pb2.Input, document: Mapping[str, Any], method: str) -> None:
    """Fills an Input from "examples" and "context".

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if "examples" not in document:
        raise _wrong(document, f"When method is {method}, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _wrong(document, "'examples' key must be an array")
    if not examples:
        raise _wrong(document, "'examples' array is empty")
    context = document.get("context")
    if context is not None:
        target = data.example_list_with_context.examples
        _fill_example(data.example_list_with_context.context, context)
    else:
        target = data.example_list.examples
    for example in examples:
        _fill_example(target.add(), example)


def _fill_example(example: example_pb2.Example, document: Any) -> None:
    if not isinstance(document, dict):
        raise _wrong(document, "Example must be JSON object but got JSON " + _json_type(document))
    for name, value in document.items():
        feature = example.features.feature[name]
        values = value if isinstance(value, list) else [value]
        if not values:
            feature.SetInParent()
            continue
        first = values[0]
        if isinstance(first, bool) or not (isinstance(first, int | float | str) or _is_base64(first)):
            raise invalid(f"Unexpected element type in feature: {name}")
        _fill_feature(feature, name, values)


def _fill_feature(feature: Any, name: str, values: list[Any]) -> None:
    first = values[0]
    if isinstance(first, str) or _is_base64(first):
        dtype, target = types_pb2.DT_STRING, feature.bytes_list.value
    elif isinstance(first, int):
        dtype, target = types_pb2.DT_INT64, feature.int64_list.value
    else:
        dtype, target = types_pb2.DT_FLOAT, feature.float_list.value
    for value in values:
        try:
            target.append(_leaf(value, dtype))
        except ServingError:
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {type_name(dtype)}") from None
