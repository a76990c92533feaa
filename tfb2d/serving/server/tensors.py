"""Turns a request's TensorProto into an array and an array into an answer's TensorProto.

Every Predict request passes here, so the common types have code of their own. TensorFlow's converters take 7 us for one
text, this takes 3, and they write `tensor_content` where TensorFlow Serving writes `float_val`.
"""

import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfb2d.serving.server.errors import StatusError, invalid

MAX_DIMENSIONS = 64  # as many as a NumPy array can have; TensorFlow takes 254
_PACKED = {"float_val": b"\x2a", "double_val": b"\x32"}  # wire keys, which raw little-endian values may follow
_FIELDS = {  # dtype -> the repeated field that holds its values
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
_RARE = ("half_val", "scomplex_val", "dcomplex_val")  # TensorFlow converts these
KINDS = {number: (np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype), field) for number, field in _FIELDS.items()}
_NUMBERS = {dtype: number for number, (dtype, _) in KINDS.items()}


def type_name(number: int) -> str:
    """Returns TensorFlow's short name of a dtype number: "float", "int64", "string"."""
    return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def to_array(proto: tensor_pb2.TensorProto, alias: str, max_bytes: int, max_string: int) -> np.ndarray:
    """Returns what a request's tensor holds; the last value fills up a shape that asks for more values.

    Args:
      alias: the input's name, for messages.
      max_bytes: refuses a shape that asks for more memory than this and than its values fill, so that a request of
        twenty bytes cannot take gigabytes.
      max_string: refuses a longer string; 0 is no limit.
    """
    dtype, field = KINDS.get(proto.dtype, (None, ""))
    sizes = [dim.size for dim in proto.tensor_shape.dim]  # `unknown_rank` is not looked at, as in TensorFlow
    if len(sizes) > MAX_DIMENSIONS:
        raise _unreadable(f"{alias}: {len(sizes)} dimensions, and this server takes {MAX_DIMENSIONS}")
    count = math.prod(sizes)
    if dtype is None or (sizes and (min(sizes) < 0 or max(sizes) >= 2**62)) or count >= 2**62:
        raise _unreadable(alias)
    values, content = getattr(proto, field), proto.tensor_content
    if count * dtype.itemsize > max_bytes and max(len(values), len(content)) < count:
        raise _unreadable(alias)
    try:
        if field == "string_val":
            strings = list(values) if values or not content else _strings_in_content(content, count)
            return _strings(strings, count, alias, max_string).reshape(sizes)
        if content:
            return np.frombuffer(content, dtype).reshape(sizes)
        if field in _RARE:
            return tf.make_ndarray(proto)
    except ValueError:  # as many bytes, or values, as the shape does not have
        raise _unreadable(alias) from None
    array = np.array(values[:count], np.int32 if field == "int_val" else dtype).astype(dtype, copy=False)
    if len(array) < count:
        array = np.concatenate([array, np.full(count - len(array), array[-1] if len(array) else 0, dtype)])
    return array.reshape(sizes)


def _strings_in_content(content: bytes, count: int) -> list[bytes]:
    """Returns the strings in `tensor_content`, as C++ clients write them: varint lengths, then the bytes of all."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position == len(content) or shift > 28:
                raise ValueError("a length is cut")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    ends = [position, *(position + end for end in itertools.accumulate(lengths))]
    if ends[-1] != len(content):
        raise ValueError("there are more bytes, or fewer")
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _unreadable(text: str) -> StatusError:
    return invalid(f"tensor parsing error: {text}")


def _strings(values: list[bytes], count: int, alias: str, max_string: int) -> np.ndarray:
    if max_string and (longest := max(map(len, values), default=0)) > max_string:
        raise _unreadable(f"{alias}: a string of {longest} bytes; --max_string_bytes is {max_string}")
    array = np.empty(count, object)
    array[:] = values[:count] + (values[-1:] or [b""]) * (count - len(values))
    return array


def fill_proto(proto: tensor_pb2.TensorProto, value: Any, as_content: bool = False) -> None:
    """Writes an array (of objects: bytes) to an answer's empty tensor; numbers as `tensor_content` if `as_content`."""
    array = np.asarray(value, object if isinstance(value, bytes) else None)  # a scalar string comes as bytes
    proto.dtype = _NUMBERS[array.dtype]
    proto.tensor_shape.SetInParent()  # a scalar has a shape, too
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = KINDS[proto.dtype][1]
    if field != "string_val" and (as_content or field in _RARE):
        proto.tensor_content = array.tobytes()
    elif field in _PACKED and array.size > 32:  # the wire form is the memory: cheaper than a list of Python floats
        packed = tensor_pb2.TensorProto(tensor_content=array.tobytes()).SerializeToString()  # key, length, bytes
        proto.MergeFromString(_PACKED[field] + packed[1:])
    else:
        getattr(proto, field).extend(array.ravel().tolist())
