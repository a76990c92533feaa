import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    logging_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)
from tensorflow_serving.apis.status_pb2 import StatusProto
from tensorflow_serving.config import logging_config_pb2

from tfb2d.serving import wire

OFFICIAL = {
    "Int64Value": wrappers_pb2.Int64Value,
    "Any": any_pb2.Any,
    "ModelSpec": model_pb2.ModelSpec,
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "PredictLog": prediction_log_pb2.PredictLog,
    "SamplingConfig": logging_config_pb2.SamplingConfig,
    "LogMetadata": logging_pb2.LogMetadata,
    "PredictionLog": prediction_log_pb2.PredictionLog,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "StatusProto": StatusProto,
    "ModelVersionStatus": get_model_status_pb2.ModelVersionStatus,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
}


@pytest.mark.parametrize("message", wire.SCHEMA)
def test_fields_are_the_official_ones(message):
    ours, theirs = wire.MESSAGES[message].DESCRIPTOR, OFFICIAL[message].DESCRIPTOR
    for field in ours.fields:
        official = theirs.fields_by_name[field.name]
        kinds = {field.type, official.type}
        assert len(kinds) == 1 or kinds == {field.TYPE_INT32, field.TYPE_ENUM}
        assert (official.number, official.is_repeated) == (field.number, field.is_repeated), field.name
        if field.message_type and not field.message_type.GetOptions().map_entry:
            assert OFFICIAL[field.message_type.name].DESCRIPTOR is official.message_type


@given(st.lists(st.binary(max_size=20), max_size=9), st.text(max_size=9), st.integers(0, 2**62))
def test_predict_request_reads_the_same_on_both_sides(texts, label, version):
    request = wire.MESSAGES["PredictRequest"]()
    request.model_spec.name = label
    if version % 2:
        request.model_spec.version_label = label
    else:
        request.model_spec.version.value = version
    request.output_filter.append("score")
    wire.fill_strings(request.inputs["text"], texts, (len(texts), 1))
    official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert official.model_spec.name == label
    choice = (official.model_spec.version_label, official.model_spec.version.value)
    assert choice == ((label, 0) if version % 2 else ("", version))
    assert list(official.output_filter) == ["score"]
    array = tf.make_ndarray(official.inputs["text"])
    assert array.shape == (len(texts), 1)
    assert array.ravel().tolist() == texts
    assert wire.MESSAGES["PredictRequest"].FromString(official.SerializeToString()) == request


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_numbers_come_back_from_content_and_from_values(dtype):
    value = np.array([[0, 1, 5], [2, 0, 3]]).astype(dtype)
    packed = tf.make_tensor_proto(value)
    packed.ClearField("bool_val")
    packed.tensor_content = value.tobytes()
    tensor = wire.MESSAGES["TensorProto"].FromString(packed.SerializeToString())
    np.testing.assert_array_equal(wire.to_numpy(tensor), value)
    tensor.ClearField("tensor_content")
    numbers = value.view(np.uint16) if dtype == "float16" else value
    field = {"float16": "half", "float32": "float", "float64": "double", "int32": "int"}.get(dtype, dtype)
    getattr(tensor, f"{field}_val").extend(numbers.ravel().tolist())
    read = wire.to_numpy(tensor)
    np.testing.assert_array_equal(read, value)
    assert read.dtype == dtype


@pytest.mark.parametrize(
    "values", [{"float_val": [7, 8]}, {"float_val": []}, {"string_val": [b"x"]}, {"string_val": []}]
)
def test_missing_values_are_an_error_unless_tensorflows_reading_is_asked_for(values):
    tensor = wire.MESSAGES["TensorProto"](dtype=7 if "string_val" in values else 1, **values)
    tensor.tensor_shape.dim.add(size=4)
    with pytest.raises(ValueError, match=r"\d values for a tensor of shape \(4,\)"):
        wire.to_numpy(tensor)
    official = tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor.SerializeToString()))
    assert official.shape == (4,)  # TensorFlow makes four of them
    ours = wire.to_numpy(tensor, repeat_last=True)
    assert ours.tolist() == [text.encode() if isinstance(text, str) else text for text in official.tolist()]


def test_strings_come_back_as_bytes():
    tensor = wire.MESSAGES["TensorProto"]()
    wire.fill_strings(tensor, [b"a", b"\x00\xff"], (2,))
    assert wire.to_numpy(tensor).tolist() == [b"a", b"\x00\xff"]


@pytest.mark.parametrize(
    ("tensor", "word"),
    [
        ({"dtype": 14}, "data type 14"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": -1}]}}, "unknown shape"),
        ({"dtype": 1, "tensor_shape": {"unknown_rank": True}}, "unknown shape"),
        ({"dtype": 1, "float_val": [1, 2]}, "2 values"),
        ({"dtype": 1, "tensor_content": b"abc"}, "3 bytes"),
    ],
)
def test_unusable_tensors_are_told(tensor, word):
    with pytest.raises(ValueError, match=word):
        wire.to_numpy(wire.MESSAGES["TensorProto"](**tensor))
