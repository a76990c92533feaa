"""REST as clients send it: what the official server takes and refuses, on a running server."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, regression_pb2

from tests.serving.server.embedded import outcome, predict_request
from tfb2d.serving.server.inference import serialized_examples

PREDICT = "/v1/models/demo:predict"
ROW = '{"instances": [[1, 1, 1, 1]]}'


def ask(server, body, path=PREDICT, method="POST", **headers):
    status, _, text = server.http(method, path, body, headers=headers)
    return status, text


@pytest.mark.parametrize(
    "body",
    [
        ROW,
        b"\xef\xbb\xbf" + ROW.encode(),
        ROW + " trailing text",
        '{"signature_name": "", "instances": [[1, 1, 1, 1]]}',
    ],
)
def test_taken(shared, body):
    status, text = ask(shared, body)
    assert status == 200
    assert json.loads(text)["predictions"] == [{"s": 4.0, "y": [18.0, 22.0, 26.0]}]


@pytest.mark.parametrize(
    ("body", "upper"),
    [
        ('{"signature_name": "text", "instances": [{"b64": "YWI"}]}', "AB"),
        ('{"signature_name": "text", "instances": [{"b64": "Y\\nW I="}]}', "AB"),
        (b'{"signature_name": "text", "instances": ["a\xff"]}', "A\ufffd"),
        (r'{"signature_name": "text", "instances": ["\ud83d\ude00"]}', "\U0001f600"),
    ],
)
def test_texts(shared, body, upper):
    status, text = ask(shared, body)
    assert (status, json.loads(text)["predictions"][0]["u"]) == (200, upper)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (PREDICT + "?key=1", ROW, "Malformed request: POST /v1/models/demo:predict?key=1"),
        ("/v1/models/demo:Predict", ROW, "Malformed request: POST /v1/models/demo:Predict"),
        (PREDICT, r'{"signature_name": "text", "instances": ["\ud800"]}', "half of a surrogate pair"),
        (PREDICT, '{"inputs": ' + "[" * 200 + "1" + "]" * 200 + "}", "200 dimensions"),
        (PREDICT, '{"signature_name": "__saved_model_init_op", "inputs": 1}', "Failed to get input map for signature"),
        (
            "/v1/models/demo:regress",
            '{"signature_name": "regress", "examples": [{"x": [1.0, 2]}]}',
            "expecting type: float",
        ),
        (
            "/v1/models/no such model:predict".replace(" ", "%20"),
            "{",
            "JSON Parse error",
        ),  # before the model is looked up
        (PREDICT, '{"instances": [[1e400, 1, 1, 1]]}', "too big"),
        (PREDICT, '{"instances": [[-1e400, 1, 1, 1]]}', "too big"),
        (PREDICT, f'{{"instances": [[{"9" * 400}, 1, 1, 1]]}}', "too big"),
        (PREDICT, f'{{"instances": [[{"9" * 250}e99, 1, 1, 1]]}}', "too big"),
    ],
)
def test_refused(shared, path, body, message):
    status, text = ask(shared, body, path)
    assert status == 400
    assert message in json.loads(text)["error"]


def test_the_first_of_equal_keys_counts(shared):
    status, text = ask(shared, '{"instances": [[1, 1, 1, 1]], "instances": [[0, 0, 0, 0]]}')
    assert (status, json.loads(text)["predictions"][0]["s"]) == (200, 4.0)


@pytest.mark.parametrize("depth", [300, 700, 900, 2000])
def test_what_is_nested_too_deep_is_the_clients_mistake(shared, depth):
    nested = "[" * depth + "1" + "]" * depth
    bodies = (
        nested,
        f'{{"inputs": {nested}}}',
        f'{{"signature_name": {nested}}}',
        f'{{"inputs": {nested}, "instances": []}}',
    )
    assert [ask(shared, body)[0] for body in bodies] == [400] * 4


def test_gzip(shared):
    packed = gzip.compress(ROW.encode())
    assert ask(shared, packed, **{"Content-Encoding": "gzip"})[0] == 200
    assert ask(shared, packed)[0] == 400
    status, text = ask(shared, ROW, **{"Content-Encoding": "gzip"})
    assert (status, "not valid gzip" in text) == (400, True)


def test_options_as_a_browser_asks(shared):
    status, headers, text = shared.http("OPTIONS", PREDICT, headers={"Origin": "https://shop.example"})
    assert (status, headers["Content-Type"], text) == (200, "text/html; charset=ISO-8859-1", "")
    assert "Access-Control-Allow-Origin" not in headers  # the flag is off
    assert shared.http("OPTIONS", PREDICT)[0] == 400


def test_metadata_has_no_type_and_no_defaults(shared):
    status, _, text = shared.http("GET", "/v1/models/demo/metadata")
    assert status == 200
    assert "@type" not in text
    metadata = json.loads(text)
    assert metadata["model_spec"]["version"] == "2"
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["tensor_shape"]["dim"][1]["size"] == "4"
    assert not signature["defaults"]


def test_a_scalar_string_in_and_out(shared):
    """The demo has no such signature: the op refuses it, in its own words."""
    status, text = ask(shared, '{"signature_name": "text", "inputs": "one"}')
    assert status == 200
    assert json.loads(text)["outputs"] == {"n": 3, "u": "ONE"}
    request = predict_request(signature="text", inputs={"t": np.array(b"one", object)})
    answer = shared.predictions.Predict(request, timeout=5)
    assert answer.outputs["u"].string_val == [b"ONE"]
    assert answer.outputs["u"].HasField("tensor_shape")
    assert ask(shared, '{"signature_name": "text", "instances": "one"}')[0] == 400


def test_an_unknown_rank_is_read_as_the_shape_that_stands_there(shared):
    request = predict_request(inputs={"x": np.ones((2, 4), np.float32)})
    request.inputs["x"].tensor_shape.unknown_rank = True
    assert shared.predictions.Predict(request, timeout=5).outputs["s"].float_val == [4, 4]


def test_new_fields_of_a_request_are_accepted(shared):
    """PredictRequest.RequestOptions, as later versions fill it: known fields and ones that nobody here knows."""
    request = predict_request(inputs={"x": np.ones((1, 4), np.float32)})
    options = b"\x0a\x01c" + b"\x18\x01" + b"\x30\x10" + b"\xa2\x06\x01x"  # fields 1, 3, 6 and 100
    data = request.SerializeToString() + b"\x3a" + bytes([len(options)]) + options
    answer = shared.raw("/tensorflow.serving.PredictionService/Predict", data)
    assert predict_pb2.PredictResponse.FromString(answer).outputs["s"].float_val == [4]


def feature(name, *values):
    example = example_pb2.Example()
    example.features.feature[name].float_list.value.extend(values)
    return example


def test_an_example_wins_over_the_context(shared):
    """As TensorFlow's own parser reads the merged features: of two, the later one, which is the example's."""
    own, other = (1.0, 2.0, 3.0, 4.0), (9.0, 9.0, 9.0, 9.0)
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "demo", "regress"
    shared_part = request.input.example_list_with_context
    shared_part.context.CopyFrom(feature("x", *other))
    shared_part.examples.extend([feature("x", *own), feature("y", 1.0)])
    spec = {"x": tf.io.FixedLenFeature([4], tf.float32)}
    parsed = tf.io.parse_example(serialized_examples(request.input), spec)["x"].numpy()
    merged = example_pb2.Example.FromString(shared_part.context.SerializeToString())
    merged.features.feature["x"].CopyFrom(feature("x", *own).features.feature["x"])
    assert parsed.tolist() == [list(own), list(other)]
    assert parsed[:1].tolist() == tf.io.parse_example([merged.SerializeToString()], spec)["x"].numpy().tolist()
    answer = shared.predictions.Regress(request, timeout=5)
    alone = regression_pb2.RegressionRequest(model_spec=request.model_spec)
    alone.input.example_list.examples.extend([feature("x", *own), feature("x", *other)])
    assert answer.result == shared.predictions.Regress(alone, timeout=5).result
    body = {"signature_name": "regress", "context": {"x": other}, "examples": [{"x": own}, {}]}
    text = ask(shared, json.dumps(body), "/v1/models/demo:regress")[1]
    assert json.loads(text)["results"] == [item.value for item in answer.result.regressions]
    classify = classification_pb2.ClassificationRequest(model_spec=request.model_spec, input=request.input)
    classify.model_spec.signature_name = "classify"
    assert outcome(shared.predictions.Classify, classify, timeout=5)[0] == "OK"
