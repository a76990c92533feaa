"""Random requests: every one gets a proper status, none a crash or a hang, and memory stays where it is."""

import random
import string

import grpc
import numpy as np
import pytest
from embedded import Server, outcome, predict_request
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

SERVICE = "/tensorflow.serving.PredictionService/"
METHODS = {
    SERVICE + "Predict": predict_pb2.PredictRequest,
    SERVICE + "Classify": classification_pb2.ClassificationRequest,
    SERVICE + "Regress": regression_pb2.RegressionRequest,
    SERVICE + "MultiInference": inference_pb2.MultiInferenceRequest,
    SERVICE + "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "/tensorflow.serving.ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}
SIGNATURES = ("", "serving_default", "text", "two", "classify", "regress", "zz", "__saved_model_init_op")
ALIASES = ("x", "t", "a", "b", "inputs", "q", "")
# UNKNOWN would be an exception that nobody mapped.
PROPER = {code.name for code in grpc.StatusCode} - {"UNKNOWN", "DEADLINE_EXCEEDED", "CANCELLED"}


def text(chance: random.Random) -> bytes:
    kinds = (
        lambda: bytes(chance.randbytes(chance.randrange(40))),
        lambda: b"\0" * chance.randrange(10),
        lambda: "".join(chance.choices(string.printable, k=20)).encode(),
        lambda: "".join(chr(chance.choice((0x41, 0xE9, 0x4E2D, 0x1F600, 0x202E))) for _ in range(10)).encode(),
        lambda: b"\xff\xfe\xed\xa0\x80",
        lambda: b"word " * chance.randrange(2000),
    )
    return chance.choice(kinds)()


def random_tensor(chance: random.Random) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=chance.choice((*range(24), 101)))
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 260))):
        proto.tensor_shape.dim.add(size=chance.choice((0, 1, 1, 2, 3, 4, 4, -1, 2**40, 2**62, 2**63 - 1)))
    proto.tensor_shape.unknown_rank = chance.random() < 0.05
    for field in chance.sample(("float_val", "int_val", "int64_val", "double_val", "half_val", "scomplex_val"), 2):
        getattr(proto, field).extend(chance.choice((0, 1, -1, 7)) for _ in range(chance.randrange(9)))
    proto.string_val.extend(text(chance) for _ in range(chance.randrange(4)))
    if chance.random() < 0.3:
        proto.tensor_content = text(chance)
    return proto


def sensible_tensor(chance: random.Random) -> tensor_pb2.TensorProto:
    import tensorflow as tf

    rows = chance.randrange(4)
    kinds = (
        lambda: np.ones((rows, 4), chance.choice((np.float32, np.float64, np.int32))),
        lambda: np.array([text(chance) for _ in range(rows)], object),
        lambda: np.ones((rows, chance.randrange(6)), np.float32),
    )
    value = chance.choice(kinds)()
    return tf.make_tensor_proto(value, dtype=tf.string if value.dtype == object else None, shape=value.shape)


def random_request(chance: random.Random) -> tuple[str, bytes]:
    method = chance.choice((*METHODS, *[SERVICE + "Predict"] * 8))
    kind = chance.random()
    if kind < 0.15:
        return method, chance.randbytes(chance.randrange(200))
    request = METHODS[method]()
    if method.endswith("Reload" + "ConfigRequest"):
        for _ in range(2):  # the same model twice: it must be refused, for a test does not want it taken on
            request.config.model_config_list.config.add(name="demo", base_path=chance.choice(("", "/x", "rel")))
        return method, request.SerializeToString()
    spec = request.tasks.add().model_spec if method.endswith("MultiInference") else request.model_spec
    if chance.random() < 0.95:
        spec.name = chance.choice(("demo", "demo", "demo", "other", "nope", "", "\0", "é" * 100))
        spec.signature_name = chance.choice(SIGNATURES)
        if chance.random() < 0.1:
            spec.version.value = chance.choice((1, 2, -1, 2**62))
        elif chance.random() < 0.1:
            spec.version_label = chance.choice(("stable", "nope", ""))
    if method.endswith("Predict"):
        for alias in chance.sample(ALIASES, chance.randrange(3)):
            make = chance.choice((random_tensor, sensible_tensor))
            request.inputs[alias].CopyFrom(make(chance))
        request.output_filter.extend(chance.sample(("y", "s", "n", "zz", ""), chance.choice((0, 0, 0, 1, 2))))
    elif hasattr(request, "input"):
        for _ in range(chance.randrange(3)):
            example = request.input.example_list.examples.add()
            feature = example.features.feature[chance.choice(("x", "y", ""))]
            if chance.random() < 0.7:
                feature.float_list.value.extend([1.0] * chance.choice((4, 4, 3)))
            else:
                feature.bytes_list.value.append(text(chance))
    elif hasattr(request, "metadata_field"):
        request.metadata_field.extend(chance.choice((["signature_def"], [], ["foo"])))
    data = request.SerializeToString()
    if kind < 0.4 and data:
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        return method, bytes(broken)
    return method, data


def fuzz(server: Server, count: int, seed: int) -> set[str]:
    chance = random.Random(seed)
    seen = set()
    for number in range(count):
        method, data = random_request(chance)
        code, details = outcome(server.raw, method, data, timeout=30)
        seen.add(code)
        if code != "OK":
            assert code in PROPER, (seed, number, method, code, details)
            assert "Traceback" not in details
            assert len(details.encode()) < 1100
    return seen


def rss(server: Server) -> float:
    """Resident megabytes."""
    with open(f"/proc/{server.process.pid}/status") as lines:
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.parametrize("seed", range(3))
def test_random_requests(shared, seed):
    seen = fuzz(shared, 500, seed)
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"} <= seen
    assert "Servable" not in shared.log().partition("Running gRPC")[2]


def test_log_lines_hold_no_request_text(shared):
    secret = "tax-return-of-a-customer"
    for request in (
        predict_request(signature="text", inputs={"t": np.array([secret.encode()], object)}),
        predict_request(inputs={"x": np.array([secret.encode()], object)}),
        predict_request(model=secret),
    ):
        outcome(shared.predictions.Predict, request, timeout=5)
    shared.http("POST", "/v1/models/demo:predict", f'{{"instances": ["{secret}"]}}')
    assert secret not in shared.log()


def test_large_requests(shared):
    """A string of 8 MB and 10^5 strings are served; twenty bytes that ask for terabytes are refused."""
    big = predict_request(signature="text", inputs={"t": np.array([b"a" * (8 << 20)], object)}, only=("n",))
    assert shared.predictions.Predict(big, timeout=30).outputs["n"].int_val[0] == 8 << 20
    many = predict_request(signature="text", inputs={"t": np.array([b"a"] * 10**5, object)}, only=("n",))
    assert len(shared.predictions.Predict(many, timeout=30).outputs["n"].int_val) == 10**5
    bomb = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
    for size in (2**20, 2**20):
        bomb.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as error:
        shared.predictions.Predict(predict_request(inputs={"x": bomb}), timeout=10)
    assert error.value.details() == "tensor parsing error: x"


def test_random_http(shared):
    """Bytes that are no HTTP, and bodies that are no JSON, get an answer or a closed connection."""
    import socket

    chance = random.Random(0)
    for number in range(60):
        with socket.create_connection(("127.0.0.1", shared.rest_port), 10) as one:
            line = (
                b"POST /v1/models/demo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
            )
            one.sendall(chance.randbytes(200) + b"\r\n\r\n" if number % 2 else line + chance.randbytes(40))
            one.shutdown(socket.SHUT_WR)
            answer = one.recv(1 << 16)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    deep = '{"instances":' + "[" * 5000 + "]" * 5000 + "}"
    assert shared.http("POST", "/v1/models/demo:predict", deep)[0] == 400
    for body in (
        '{"instances":[[1e999,1,1,1]]}',
        '{"instances":[[NaN,1,1,1]]}',
        '{"instances":[[' + "9" * 5000 + "]]}",
    ):
        assert shared.http("POST", "/v1/models/demo:predict", body)[0] in (200, 400)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_thousand_random_requests(tree, tmp_path):
    """No growth: after the first tenth the server's memory stays within 15%."""
    with Server(tmp_path, "--model_name=demo", f"--model_base_path={tree}/demo") as server:
        fuzz(server, 10_000, 1)
        before = rss(server)
        for seed in range(2, 11):
            fuzz(server, 10_000, seed)
        assert rss(server) < before * 1.15
        huge = predict_request(signature="text", inputs={"t": np.array([b"a" * (64 << 20)], object)}, only=("n",))
        million = predict_request(signature="text", inputs={"t": np.array([b"title"] * 10**6, object)}, only=("n",))
        for request in (huge, million) * 2:
            assert server.predictions.Predict(request, timeout=120).outputs["n"].int_val
        assert server.process.poll() is None
