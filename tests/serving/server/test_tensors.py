"""TensorProto to arrays and back, held against TensorFlow's own conversion."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from tfb2d.serving.server.errors import StatusError
from tfb2d.serving.server.tensors import KINDS, fill_proto, to_array

LIMITS = (1 << 26, 0)
NUMBERS = [np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]
NUMBERS += [np.uint64, np.bool_, np.complex64, np.complex128]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12)
numbers = st.sampled_from(NUMBERS).flatmap(lambda kind: hnp.arrays(kind, shapes))
texts = shapes.flatmap(lambda shape: hnp.arrays(object, shape, elements=st.binary(max_size=30)))


@given(st.one_of(numbers, texts), st.booleans())
def test_round_trip_with_tensorflow(array, as_content):
    """What we write TensorFlow reads, what TensorFlow writes we read; NaN and -0.0 included."""
    ours = tensor_pb2.TensorProto()
    fill_proto(ours, array, as_content)
    assert as_content or not ours.tensor_content or array.dtype.kind in "cef"
    theirs = tf.make_tensor_proto(array, dtype=tf.string if array.dtype == object else None, shape=array.shape)
    for read in (tf.make_ndarray(ours), to_array(ours, "x", *LIMITS), to_array(theirs, "x", *LIMITS)):
        assert read.shape == array.shape
        assert read.tolist() == array.tolist() if array.dtype == object else read.tobytes() == array.tobytes()


@given(st.integers(0, 5), st.integers(0, 8))
def test_missing_values_repeat_the_last(given_values, count):
    proto = tensor_pb2.TensorProto(dtype=1, float_val=range(given_values))
    proto.tensor_shape.dim.add(size=count)
    values = list(range(given_values)) or [0]
    assert to_array(proto, "x", *LIMITS).tolist() == (values + [values[-1]] * count)[:count]


@given(st.binary(max_size=200), st.sampled_from([*KINDS, 0, 20, 101]), st.lists(st.integers(-2, 2**62), max_size=3))
def test_anything_is_read_or_refused(content, dtype, sizes):
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    with contextlib.suppress(StatusError):
        assert to_array(proto, "x", *LIMITS).shape == tuple(sizes)


def test_long_strings_are_refused_by_length_only():
    proto = tf.make_tensor_proto([b"secret" * 10])
    with pytest.raises(StatusError, match="60 bytes") as error:
        to_array(proto, "t", 1 << 20, 59)
    assert "secret" not in error.value.message
    assert to_array(proto, "t", 1 << 20, 60).tolist() == [b"secret" * 10]


def test_bfloat16():
    array = tf.constant([1.5, -2.0], tf.bfloat16).numpy()
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, array)
    assert to_array(proto, "x", *LIMITS).tolist() == array.tolist()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_strings_in_content_are_read_as_tensorflow_reads_them(strings):
    lengths = b"".join(
        bytes([size]) if (size := len(text)) < 128 else bytes([size & 127 | 128, size >> 7]) for text in strings
    )
    proto = tensor_pb2.TensorProto(dtype=7, tensor_content=lengths + b"".join(strings))
    proto.tensor_shape.dim.add(size=len(strings))
    assert tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist() == strings
    assert to_array(proto, "x", *LIMITS).tolist() == strings
    proto.tensor_content += b"x"
    with pytest.raises(StatusError, match="tensor parsing error"):
        to_array(proto, "x", *LIMITS)
