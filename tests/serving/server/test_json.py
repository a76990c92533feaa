"""JSON in and out: layout, special numbers, bytes, and what is refused."""

import base64
import contextlib
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2, predict_pb2

from tfb2d.serving.server import json_body, rest_parse, tensors
from tfb2d.serving.server.errors import StatusError

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
    assert json.loads(json_body.pretty(value)) == value


@given(st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), JSON))
def test_any_document_is_taken_or_refused(document):
    for kind in (types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_INT8, types_pb2.DT_BOOL):
        with contextlib.suppress(StatusError):
            fill(document, x=kind)


@given(st.binary(max_size=60))
def test_any_body_is_taken_or_refused(body):
    with contextlib.suppress(StatusError):
        assert isinstance(json_body.parse_json(body), dict)


def test_rows_and_columns():
    assert fill({"instances": [[1, 2], [3, 4]]}, x=types_pb2.DT_FLOAT) == (True, {"x": [[1, 2], [3, 4]]})
    pair = {"a": types_pb2.DT_STRING, "b": types_pb2.DT_INT64}
    rows = {"instances": [{"a": "q", "b": 1}, {"a": {"b64": "/w=="}, "b": 2}]}
    assert fill(rows, **pair) == (True, {"a": [b"q", b"\xff"], "b": [1, 2]})
    assert fill({"inputs": {"a": ["q"], "b": [1]}}, **pair) == (False, {"a": [b"q"], "b": [1]})
    assert fill({"inputs": ["q"]}, a=types_pb2.DT_STRING) == (False, {"a": [b"q"]})
    with pytest.raises(StatusError, match="keys must be equal to: a,b"):
        fill({"instances": [{"a": "q"}]}, **pair)


def test_layout():
    outputs = {"score": np.float32([0.5, 1e-5])}
    assert json_body.predictions(outputs) == b'{\n    "predictions": [\n        0.5,\n        1e-05\n    ]\n}'
    assert json_body.columns(outputs) == b'{\n    "outputs": [\n        0.5,\n        1e-05\n    ]\n}'
    two = {"a": np.array([b"x", "é".encode()], object), "b_bytes": np.array([b"\xff", b""], object)}
    read = json.loads(json_body.predictions(two))["predictions"]
    assert read == [{"a": "x", "b_bytes": {"b64": "/w=="}}, {"a": "é", "b_bytes": {"b64": ""}}]
    assert json.loads(json_body.columns(two))["outputs"]["a"] == ["x", "é"]
    special = {"s": np.float32([np.nan, np.inf, -np.inf])}
    assert json_body.predictions(special).split() == b'{ "predictions": [ NaN, Infinity, -Infinity ] }'.split()
    with pytest.raises(StatusError, match="inconsistent batch size"):
        json_body.predictions({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(StatusError, match="no shape information"):
        json_body.predictions({"a": np.float32(1)})


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floats_come_back_as_they_were(values):
    array = np.float32(values)
    read = json.loads(json_body.predictions({"s": array}))["predictions"]
    assert np.float32(read).tobytes() == array.tobytes()


def test_examples():
    data = input_pb2.Input()
    document = {"examples": [{"x": [1.5], "t": "word", "n": 3, "none": []}], "context": {"c": [{"b64": "AA=="}]}}
    rest_parse.fill_examples(data, document)
    features = data.example_list_with_context.examples[0].features.feature
    assert features["x"].float_list.value[:] == [1.5]
    assert features["t"].bytes_list.value[:] == [b"word"]
    assert features["n"].int64_list.value[:] == [3]
    assert data.example_list_with_context.context.features.feature["c"].bytes_list.value[:] == [b"\0"]


def parsed(body):
    return json_body.parse_json(body if isinstance(body, bytes) else body.encode())


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf {"a": 1}', {"a": 1}),  # a byte-order mark
        ('{"a": 1} and more', {"a": 1}),
        ('{"a": [NaN, Infinity, -Infinity]}', None),
        (r'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (r'{"a": "\\ud800"}', {"a": "\\ud800"}),  # no escape of a surrogate: a backslash, then letters
        ('{"a": 1e308, "b": 123456789012345678901234567890}', {"a": 1e308, "b": 123456789012345678901234567890}),
        ('{"a": "1e999"}', {"a": "1e999"}),
    ],
)
def test_what_the_official_parser_takes(body, value):
    assert parsed(body) == value if value is not None else parsed(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The document is empty"),
        ("  ", "The document is empty"),
        ("{", "at offset: 1"),
        ("[1]", "Is not object"),
        ('{"a": "line\nbreak"}', "Invalid control character"),
    ],
)
def test_what_it_refuses(body, message):
    with pytest.raises(StatusError, match=message):
        parsed(body)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_escaped_text_comes_back(text):
    assert json_body.to_bytes(parsed(json.dumps({"a": text}))["a"]).decode() == text


@pytest.mark.parametrize(
    "text",
    [r"\ud800", r"\udc00", r"\udc80", r"\ud800\ud800", r"\ud83d-\ude00", r"\ud83d\n\ude00", r"\\\uD800"],
)
def test_half_of_a_surrogate_pair_is_refused_wherever_it_stands(text):
    for body in (f'{{"a": "{text}"}}', f'{{"a": 1, "{text}": 2}}', f'{{"a": [{{"b": "x{text}"}}]}}'):
        with pytest.raises(StatusError, match="half of a surrogate pair"):
            parsed(body)


@pytest.mark.parametrize("text", [r"\ud83d\ude00", r"\ud83d\ude00\ud83d\ude00", r"\\ud800", r"\\\\ud800 \\udc00"])
def test_whole_pairs_and_written_escapes_are_taken(text):
    assert parsed(f'{{"a": "{text}"}} "\\ud800"') == json.loads(f'{{"a": "{text}"}}')


def test_an_integer_that_no_double_holds_is_refused():
    with pytest.raises(StatusError, match="too big for a double"):
        fill({"inputs": [10**400]}, x=types_pb2.DT_FLOAT)


def test_bytes_that_are_not_utf8_pass():
    assert json_body.to_bytes(parsed(b'{"a": "x\xff\xc3"}')["a"]) == b"x\xff\xc3"
    assert json_body.to_name(parsed(b'{"a": "x\xff"}')["a"]) == "x\ufffd"


@pytest.mark.parametrize("text", ["/+8AAQ==", "/+8AAQ", " /+8A\r\n AQ = = ", "\t/+8AAQ"])
def test_base64_with_white_space_and_without_padding(text):
    assert json_body.from_base64({"b64": text}) == b"\xff\xef\x00\x01"


@pytest.mark.parametrize("text", ["/+8AA", "_-8AAQ==", "a=b"])
def test_base64_that_is_none(text):
    with pytest.raises(StatusError, match="Unable to base64 decode"):
        json_body.from_base64({"b64": text})


@given(st.binary(max_size=40))
def test_base64_of_anything(data):
    text = base64.b64encode(data).decode()
    assert json_body.from_base64({"b64": text}) == json_body.from_base64({"b64": text.rstrip("=")}) == data


def test_gzip_bodies(monkeypatch):
    first, second = gzip.compress(b'{"a": '), gzip.compress(b"1}")
    assert json_body.uncompress(first + second, 100) == b'{"a": 1}'
    with pytest.raises(StatusError, match="not valid gzip"):
        json_body.uncompress(b"{}", 100)
    with pytest.raises(StatusError, match="was cut"):
        json_body.uncompress(first[:-3], 100)
    with pytest.raises(StatusError, match="more than 7 bytes"):
        json_body.uncompress(first + second, 7)
    monkeypatch.setattr(json_body, "MAX_UNCOMPRESSED", 7)
    with pytest.raises(StatusError, match="more than 7 bytes"):
        json_body.uncompress(first + second, 100)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2], "Unexpected element type in feature: x expecting type: float"),
        ([float("nan"), 1], "Unexpected element type in feature: x expecting type: float"),
        ([1, 2.0], "Unexpected element type in feature: x expecting type: int64"),
        ([1, "a"], "Unexpected element type in feature: x expecting type: int64"),
        ([True, 1.0], "Unexpected element type in feature: x expecting type: int64"),
        ([None], "Feature: x has element with unexpected JSON type: Null"),
        ([[1]], "Feature: x has element with unexpected JSON type: Array"),
        ({"a": 1}, "Feature: x has element with unexpected JSON type: Object"),
        ([2**63], "Only int64_t is supported"),
    ],
)
def test_a_feature_holds_values_of_one_kind(value, message):
    with pytest.raises(StatusError, match=message):
        rest_parse.fill_examples(input_pb2.Input(), {"examples": [{"x": value}]})


def test_values_of_features():
    data = input_pb2.Input()
    rest_parse.fill_examples(data, {"examples": [{"x": [float("nan"), 1.5], "b": [True, 2, False]}]})
    features = data.example_list.examples[0].features.feature
    assert np.isnan(features["x"].float_list.value[0])
    assert features["b"].int64_list.value[:] == [1, 2, 0]


def test_a_signature_without_inputs_and_types_that_json_lacks():
    with pytest.raises(StatusError, match="Failed to get input map for signature: init"):
        rest_parse.fill_predict(predict_pb2.PredictRequest(), {"signature_name": "init", "instances": [1]}, {})
    for kind in (types_pb2.DT_HALF, types_pb2.DT_UINT16, types_pb2.DT_COMPLEX64):
        with pytest.raises(StatusError, match="Conversion of JSON Value: 1 to type"):
            fill({"inputs": [1]}, x=kind)
    assert fill({"inputs": [300, -1]}, x=types_pb2.DT_INT8)[1] == {"x": [44, -1]}  # cut, as officially


def test_numbers_have_the_digits_that_their_type_needs():
    values = np.float32([0.25, 1 / 3, 9e6, 3e-5, 16777216, 18])
    text = json_body.predictions({"s": values}).decode()
    assert text.split()[3:9] == ["0.25,", "0.33333334,", "9000000.0,", "3e-05,", "16777216.0,", "18.0"]
