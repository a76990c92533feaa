"""The TensorFlow Serving messages that the client needs, declared without TensorFlow.

`tensorflow_serving.apis` imports all of TensorFlow (seconds, hundreds of megabytes), which a web server that asks for
scores should not carry. On the wire a field is a number. The messages are declared here under the numbers of
tensorflow_serving/apis/*.proto and tensorflow/core/{framework,protobuf}/*.proto. They have a descriptor pool of their
own, so that they cannot clash with the official classes. tests/serving/test_wire.py compares them with those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Schema = Mapping[str, Mapping[str, tuple[str, int]]]

# message -> field -> (type, number); "x*" is repeated, "map:x" maps a string to x. An enum travels as an int32.
SCHEMA: Schema = {
    "Int64Value": {"value": ("int64", 1)},
    "Any": {"type_url": ("string", 1), "value": ("bytes", 2)},
    "ModelSpec": {
        "name": ("string", 1),
        "version": ("Int64Value", 2),
        "signature_name": ("string", 3),
        "version_label": ("string", 4),
    },
    "Dim": {"size": ("int64", 1)},
    "TensorShapeProto": {"dim": ("Dim*", 2), "unknown_rank": ("bool", 3)},
    "TensorProto": {
        "dtype": ("int32", 1),
        "tensor_shape": ("TensorShapeProto", 2),
        "tensor_content": ("bytes", 4),
        "float_val": ("float*", 5),
        "double_val": ("double*", 6),
        "int_val": ("int32*", 7),
        "string_val": ("bytes*", 8),
        "int64_val": ("int64*", 10),
        "bool_val": ("bool*", 11),
        "half_val": ("int32*", 13),
    },
    "PredictRequest": {
        "model_spec": ("ModelSpec", 1),
        "inputs": ("map:TensorProto", 2),
        "output_filter": ("string*", 3),
    },
    "PredictResponse": {"outputs": ("map:TensorProto", 1), "model_spec": ("ModelSpec", 2)},
    "PredictLog": {"request": ("PredictRequest", 1), "response": ("PredictResponse", 2)},
    "SamplingConfig": {"sampling_rate": ("double", 1)},
    "LogMetadata": {
        "model_spec": ("ModelSpec", 1),
        "sampling_config": ("SamplingConfig", 2),
        "timestamp_secs": ("int64", 4),
    },
    "PredictionLog": {"log_metadata": ("LogMetadata", 1), "predict_log": ("PredictLog", 6)},
    "TensorInfo": {"name": ("string", 1), "dtype": ("int32", 2), "tensor_shape": ("TensorShapeProto", 3)},
    "SignatureDef": {
        "inputs": ("map:TensorInfo", 1),
        "outputs": ("map:TensorInfo", 2),
        "method_name": ("string", 3),
    },
    "SignatureDefMap": {"signature_def": ("map:SignatureDef", 1)},
    "GetModelMetadataRequest": {"model_spec": ("ModelSpec", 1), "metadata_field": ("string*", 2)},
    "GetModelMetadataResponse": {"model_spec": ("ModelSpec", 1), "metadata": ("map:Any", 2)},
    "StatusProto": {"error_code": ("int32", 1), "error_message": ("string", 2)},
    "ModelVersionStatus": {"version": ("int64", 1), "state": ("int32", 2), "status": ("StatusProto", 3)},
    "GetModelStatusRequest": {"model_spec": ("ModelSpec", 1)},
    "GetModelStatusResponse": {"model_version_status": ("ModelVersionStatus*", 1)},
}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
STRING = 7  # tensorflow/core/framework/types.proto: DT_STRING

# DataType -> (numpy dtype, the field that carries it where tensor_content does not)
_NUMBERS = {
    1: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    9: ("<i8", "int64_val"),
    10: ("?", "bool_val"),
    19: ("<f2", "half_val"),
}


def message_classes(schema: Schema, package: str) -> dict[str, Any]:
    """Returns a class for each message of a schema (see `SCHEMA`), under a name of its own in `package`."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def add(message: descriptor_pb2.DescriptorProto, name: str, kind: str, number: int) -> None:
        plain, repeated = kind.removesuffix("*").removeprefix("map:"), kind.endswith("*") or kind.startswith("map:")
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        field = message.field.add(name=name, number=number, label=label, type=kinds.TYPE_MESSAGE)
        if kind.startswith("map:"):
            entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            add(entry, "key", "string", 1)
            add(entry, "value", plain, 2)
            field.type_name = f".{package}.{message.name}.{entry.name}"
        elif plain in schema:
            field.type_name = f".{package}.{plain}"
        else:
            field.type = kinds.Type.Value(f"TYPE_{plain.upper()}")

    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, (kind, number) in fields.items():
            add(message, field, kind, number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in schema}


MESSAGES = message_classes(SCHEMA, "tfb2d.wire")


def fill_strings(tensor: Any, values: Sequence[bytes], shape: Sequence[int]) -> None:
    """Makes `tensor` (TensorProto) a DT_STRING tensor of `shape`, its `values` in row-major order."""
    tensor.dtype = STRING
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.string_val.extend(values)


def to_numpy(tensor: Any, repeat_last: bool = False) -> np.ndarray:
    """Returns a TensorProto's value: numbers as their own dtype, strings as an object array of bytes.

    TensorFlow repeats the last value where a proto has fewer values than its shape holds, and reads none as zeros
    (tensorflow/core/framework/tensor.cc). So an answer that lost its end would read as good scores. Servers send every
    value. A missing value is therefore an error here, unless `repeat_last` is set, for reading requests. Raises
    ValueError for a dtype that no model of text has, or values that do not fit the shape.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"a tensor of unknown shape {shape}")
    size = int(np.prod(shape, dtype=np.int64))
    if tensor.dtype == STRING:
        values = np.empty(len(tensor.string_val), dtype=object)
        values[:] = list(tensor.string_val)
        zero: Any = b""
    elif tensor.dtype in _NUMBERS:
        kind, field = _NUMBERS[tensor.dtype]
        dtype = np.dtype(kind)
        if tensor.tensor_content:
            if len(tensor.tensor_content) != size * dtype.itemsize:
                raise ValueError(f"{len(tensor.tensor_content)} bytes for a tensor of shape {shape} and dtype {dtype}")
            return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
        stored = getattr(tensor, field)
        # halves travel as their bits, widened to int32
        values = np.array(stored, np.uint16).view(dtype) if field == "half_val" else np.array(stored, dtype)
        zero = dtype.type(0)
    else:
        raise ValueError(f"a tensor of data type {tensor.dtype} (tensorflow/core/framework/types.proto)")
    if len(values) > size or (len(values) < size and not repeat_last):
        raise ValueError(f"{len(values)} values for a tensor of shape {shape}")
    if len(values) < size:
        last = values[-1] if len(values) else zero
        values = np.concatenate([values, np.full(size - len(values), last, values.dtype)])
    return values.reshape(shape)
