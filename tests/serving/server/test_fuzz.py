"""Random requests: every one gets a proper status, none a crash or a hang, and memory stays where it is."""

import random

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2

from tests.serving.server.embedded import Server, outcome, predict_request
from tfb2d.bench.fuzz import PROPER, Names, random_request

NAMES = Names(
    models=("demo", "other"),
    signatures=("serving_default", "text", "two", "classify", "regress"),
    inputs=("x", "t", "a", "b", "inputs"),
    outputs=("y", "s", "n"),
)


def fuzz(server: Server, count: int, seed: int) -> set[str]:
    chance = random.Random(seed)
    seen = set()
    for number in range(count):
        method, data = random_request(chance, NAMES)
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
        with socket.create_connection(("127.0.0.1", shared.rest_port), 10) as connection:
            line = (
                b"POST /v1/models/demo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(chance.randbytes(200) + b"\r\n\r\n" if number % 2 else line + chance.randbytes(40))
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1 << 16)
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
