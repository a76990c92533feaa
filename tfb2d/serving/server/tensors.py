"""TensorProto to NumPy and back, as tensorflow::Tensor::FromProto and AsProtoField do it.

`tf.make_ndarray` and `tf.make_tensor_proto` are not used: they are slower, forgive what the C++ server refuses (and the
other way round) and write `tensor_content` where TensorFlow Serving writes `float_val` and its kin.
"""

import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfb2d.serving.server.errors import invalid

_MAX_DIMS = 64  # as many as a NumPy array can have; TensorFlow takes 254


class _Kind(NamedTuple):
    numpy: np.dtype
    field: str  # the repeated field that holds the values
    packed_key: bytes  # wire key of that field, packed, where raw little-endian bytes may follow; b"" elsewhere


def _kinds() -> dict[int, _Kind]:
    table = [
        (types_pb2.DT_FLOAT, np.float32, "float_val", b"\x2a"),
        (types_pb2.DT_DOUBLE, np.float64, "double_val", b"\x32"),
        (types_pb2.DT_COMPLEX64, np.complex64, "scomplex_val", b"\x4a"),
        (types_pb2.DT_COMPLEX128, np.complex128, "dcomplex_val", b"\x62"),
        (types_pb2.DT_HALF, np.float16, "half_val", b""),
        (types_pb2.DT_BFLOAT16, ml_dtypes.bfloat16, "half_val", b""),
        (types_pb2.DT_INT64, np.int64, "int64_val", b""),
        (types_pb2.DT_UINT64, np.uint64, "uint64_val", b""),
        (types_pb2.DT_UINT32, np.uint32, "uint32_val", b""),
        (types_pb2.DT_BOOL, np.bool_, "bool_val", b""),
        (types_pb2.DT_STRING, object, "string_val", b""),
    ]
    small = {
        types_pb2.DT_INT32: np.int32,
        types_pb2.DT_INT16: np.int16,
        types_pb2.DT_INT8: np.int8,
        types_pb2.DT_UINT16: np.uint16,
        types_pb2.DT_UINT8: np.uint8,
    }
    kinds = {number: _Kind(np.dtype(kind), field, key) for number, kind, field, key in table}
    return kinds | {number: _Kind(np.dtype(kind), "int_val", b"") for number, kind in small.items()}


KINDS = _kinds()
_NUMBERS = {kind.numpy: number for number, kind in KINDS.items()}


def type_name(number: int) -> str:
    """Returns TensorFlow's short name of a dtype number: "float", "int64", "string"."""
    return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def shape_size(sizes: list[int]) -> int:
    """Returns the number of elements, or -1 for a shape that no tensor can have."""
    if any(size < 0 for size in sizes):
        return -1
    count = math.prod(sizes)
    return count if count < 2**62 and all(size < 2**62 for size in sizes) else -1


def to_array(proto: tensor_pb2.TensorProto, alias: str, max_bytes: int, max_string: int) -> np.ndarray:
    """Returns what a request's tensor holds.

    Args:
      proto: the tensor; fewer values than its shape has are filled up with the last one.
      alias: the input's name, for messages.
      max_bytes: a shape that asks for more memory than this and than its values fill is refused, so that a request of
        twenty bytes cannot take gigabytes.
      max_string: a longer string is refused; 0 is no limit.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    kind = KINDS.get(proto.dtype)
    shape = proto.tensor_shape
    sizes = [dim.size for dim in shape.dim]  # `unknown_rank` is not looked at, as in TensorFlow
    if len(sizes) > _MAX_DIMS:
        raise invalid(f"tensor parsing error: {alias}: {len(sizes)} dimensions, and this server takes {_MAX_DIMS}")
    count = shape_size(sizes)
    if kind is None or count < 0:
        raise invalid(f"tensor parsing error: {alias}")
    if count * kind.numpy.itemsize > max_bytes and not _filled(proto, kind, count):
        raise invalid(f"tensor parsing error: {alias}")
    if kind.field == "string_val":
        return _strings(proto, sizes, count, alias, max_string)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * kind.numpy.itemsize:
            raise invalid(f"tensor parsing error: {alias}")
        return np.frombuffer(proto.tensor_content, kind.numpy).reshape(sizes)
    flat = _numbers(proto, kind)[:count]
    if len(flat) < count:
        last = flat[-1] if len(flat) else kind.numpy.type(0)
        flat = np.concatenate([flat, np.full(count - len(flat), last, kind.numpy)])
    return flat.reshape(sizes)


def _filled(proto: tensor_pb2.TensorProto, kind: _Kind, count: int) -> bool:
    given = len(getattr(proto, kind.field))
    if kind.field in ("scomplex_val", "dcomplex_val"):
        given //= 2
    return given >= count or len(proto.tensor_content) >= count


def _numbers(proto: tensor_pb2.TensorProto, kind: _Kind) -> np.ndarray:
    values = getattr(proto, kind.field)
    if kind.field == "half_val":
        return np.array(values, np.int64).astype(np.uint16).view(kind.numpy)
    if kind.field in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if kind.field == "scomplex_val" else np.float64
        return np.array(values[: len(values) // 2 * 2], part).view(kind.numpy)
    if kind.field == "int_val":
        return np.array(values, np.int32).astype(kind.numpy)  # wraps, as the C++ cast does
    return np.array(values, kind.numpy)


def _strings(proto: tensor_pb2.TensorProto, sizes: list[int], count: int, alias: str, max_string: int) -> np.ndarray:
    values: list[bytes] = list(proto.string_val)
    if not values and proto.tensor_content:
        values = _string_content(proto.tensor_content, count, alias)
    if len(values) < count:
        values.extend([values[-1] if values else b""] * (count - len(values)))
    if max_string and values and max(map(len, values)) > max_string:
        longest = max(map(len, values))
        raise invalid(f"tensor parsing error: {alias}: a string of {longest} bytes; --max_string_bytes is {max_string}")
    array = np.empty(count, object)
    array[:] = values[:count]
    return array.reshape(sizes)


def _string_content(content: bytes, count: int, alias: str) -> list[bytes]:
    """Strings in tensor_content: `count` varint lengths, then the bytes of all."""
    lengths = []
    position = 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise invalid(f"tensor parsing error: {alias}")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise invalid(f"tensor parsing error: {alias}")
    values = []
    for length in lengths:
        values.append(content[position : position + length])
        position += length
    return values


def fill_proto(proto: tensor_pb2.TensorProto, value: Any, as_content: bool = False) -> None:
    """Writes an answer's tensor.

    Args:
      proto: an empty tensor.
      value: the array; object arrays hold bytes.
      as_content: numbers as `tensor_content` (--enable_serialization_as_tensor_content).
    """
    array = np.asarray(value, object if isinstance(value, bytes) else None)  # a scalar string comes as bytes
    number = _NUMBERS[array.dtype]
    proto.dtype = number
    proto.tensor_shape.SetInParent()  # a scalar has a shape, too
    add = proto.tensor_shape.dim.add
    for size in array.shape:
        add(size=size)
    kind = KINDS[number]
    if kind.field == "string_val":
        proto.string_val.extend(array.ravel().tolist())
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif array.size:
        _fill_numbers(proto, array, kind)


def _fill_numbers(proto: tensor_pb2.TensorProto, array: np.ndarray, kind: _Kind) -> None:
    if kind.packed_key and array.size > 32:  # the wire form is the memory: far cheaper than a list of Python floats
        raw = array.tobytes()
        proto.MergeFromString(kind.packed_key + _varint(len(raw)) + raw)
    elif kind.field == "half_val":
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    elif kind.field in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if kind.field == "scomplex_val" else np.float64
        getattr(proto, kind.field).extend(np.ascontiguousarray(array).ravel().view(part).tolist())
    else:
        getattr(proto, kind.field).extend(array.ravel().tolist())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
