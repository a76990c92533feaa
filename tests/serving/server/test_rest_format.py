"""JSON in and out: layout, special numbers, bytes, and what is refused."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from tfb2d.serving.server import rest_format, rest_parse, tensors
from tfb2d.serving.server.errors import ServingError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def inputs(**kinds):
    return {name: meta_graph_pb2.TensorInfo(name=name + ":0", dtype=kind) for name, kind in kinds.items()}


def fill(document, **kinds):
    request = predict_pb2.PredictRequest()
    by_row = rest_parse.fill_predict(request, document, inputs(**kinds))
    arrays = {name: tensors.to_array(proto, name, 1 << 26, 0).tolist() for name, proto in request.inputs.items()}
    return by_row, arrays


@given(JSON)
def test_pretty_is_json(value):
    assert json.loads(rest_format.pretty(value)) == value


@given(st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), JSON))
def test_any_document_is_taken_or_refused(document):
    for kind in (types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_INT8, types_pb2.DT_BOOL):
        with contextlib.suppress(ServingError):
            fill(document, x=kind)


@given(st.binary(max_size=60))
def test_any_body_is_taken_or_refused(body):
    with contextlib.suppress(ServingError):
        assert isinstance(rest_parse.parse_json(body), dict)


def test_rows_and_columns():
    assert fill({"instances": [[1, 2], [3, 4]]}, x=types_pb2.DT_FLOAT) == (True, {"x": [[1, 2], [3, 4]]})
    pair = {"a": types_pb2.DT_STRING, "b": types_pb2.DT_INT64}
    rows = {"instances": [{"a": "q", "b": 1}, {"a": {"b64": "/w=="}, "b": 2}]}
    assert fill(rows, **pair) == (True, {"a": [b"q", b"\xff"], "b": [1, 2]})
    assert fill({"inputs": {"a": ["q"], "b": [1]}}, **pair) == (False, {"a": [b"q"], "b": [1]})
    assert fill({"inputs": ["q"]}, a=types_pb2.DT_STRING) == (False, {"a": [b"q"]})
    with pytest.raises(ServingError, match="keys must be equal to: a,b"):
        fill({"instances": [{"a": "q"}]}, **pair)


def test_layout():
    one = {"score": np.float32([0.5, 1e-5])}
    assert rest_format.predictions(one) == b'{\n    "predictions": [0.5, 1e-05\n    ]\n}'
    assert rest_format.columns(one) == b'{\n    "outputs": [\n        0.5,\n        1e-05\n    ]\n}'
    two = {"a": np.array([b"x", "é".encode()], object), "b_bytes": np.array([b"\xff", b""], object)}
    read = json.loads(rest_format.predictions(two))["predictions"]
    assert read == [{"a": "x", "b_bytes": {"b64": "/w=="}}, {"a": "é", "b_bytes": {"b64": ""}}]
    assert json.loads(rest_format.columns(two))["outputs"]["a"] == ["x", "é"]
    special = {"s": np.float32([np.nan, np.inf, -np.inf])}
    assert b"[NaN, Infinity, -Infinity" in rest_format.predictions(special)
    with pytest.raises(ServingError, match="inconsistent batch size"):
        rest_format.predictions({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ServingError, match="no shape information"):
        rest_format.predictions({"a": np.float32(1)})


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floats_come_back_as_they_were(values):
    array = np.float32(values)
    read = json.loads(rest_format.predictions({"s": array}))["predictions"]
    assert np.float32(read).tobytes() == array.tobytes()


def test_examples():
    data = input_pb2.Input()
    document = {"examples": [{"x": [1.5], "t": "word", "n": 3, "none": []}], "context": {"c": [{"b64": "AA=="}]}}
    rest_parse.fill_examples(data, document, "classify")
    features = data.example_list_with_context.examples[0].features.feature
    assert features["x"].float_list.value[:] == [1.5]
    assert features["t"].bytes_list.value[:] == [b"word"]
    assert features["n"].int64_list.value[:] == [3]
    assert data.example_list_with_context.context.features.feature["c"].bytes_list.value[:] == [b"\0"]
