"""The embedded server, in this process or as one of its own, and how tests ask it."""

import http.client
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`python -m tfb2d.serve --embedded` with these flags; ready when entered, unless `wait` is off.

    Attributes:
      more: flags of all servers.
    """

    more: tuple[str, ...] = ()

    def __init__(self, folder: Path, *flags: str, wait: bool = True, rest: bool = True, port: int = 0) -> None:
        self.port = port or free_port()
        self.rest_port = free_port() if rest else 0
        self.log_path = folder / f"server-{self.port}.log"
        ports = [f"--port={self.port}", *([f"--rest_api_port={self.rest_port}"] if rest else [])]
        self.begin(folder, [*ports, *self.more, *flags])
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=UNLIMITED)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        if wait:
            self.wait_ready()

    def begin(self, folder: Path, flags: list[str]) -> None:
        command = [sys.executable, "-m", "tfb2d.serve", "--embedded", *flags]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment)

    def wait_ready(self, seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while "Running gRPC ModelServer" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def wait_exit(self, seconds: float = 240.0) -> int:
        return self.process.wait(seconds)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(60)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)

    def raw(self, method: str, data: bytes = b"", timeout: float = 5.0) -> bytes:
        return self.channel.unary_unary(method)(data, timeout=timeout)

    def http(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        timeout: float = 10.0,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=timeout)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, data, {"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            titles = {name.title(): value for name, value in answer.getheaders()}
            return answer.status, titles, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


class Local(Server):
    """The same server in this process, which spares the seconds that a process needs to import TensorFlow."""

    def begin(self, folder: Path, flags: list[str]) -> None:
        from tfb2d.serving.server.configuration import prepare
        from tfb2d.serving.server.options import parse
        from tfb2d.serving.server.run import EmbeddedServer

        self._handler = logging.FileHandler(self.log_path, "w")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s] %(message)s"))
        logging.getLogger("tfb2d").addHandler(self._handler)
        logging.getLogger("tfb2d").setLevel(logging.INFO)
        given = parse([re.sub(r"^(--\w+_file=)(?=[^/])", rf"\g<1>{folder}/", flag) for flag in flags])
        assert not given.unknown
        self._embedded = EmbeddedServer(given.options, prepare(given.options))
        self._embedded.start()

    def wait_ready(self, seconds: float = 0.0) -> None:
        pass  # `begin` has waited

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self._embedded.request_stop()
        self._embedded.stop()
        logging.getLogger("tfb2d").removeHandler(self._handler)
        self._handler.close()


def tensor(value: object) -> tensor_pb2.TensorProto:
    import tensorflow as tf

    return value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)


def predict_request(
    model: str = "demo",
    signature: str = "",
    version: int | None = None,
    label: str = "",
    inputs: dict | None = None,
    only: tuple[str, ...] = (),
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=only)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for name, value in (inputs or {}).items():
        request.inputs[name].CopyFrom(tensor(value))
    return request


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def outcome(call, *arguments: object, **more: object) -> tuple[str, str]:
    """(code, text): the response on one line, or the details."""
    try:
        answer = call(*arguments, **more)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    if isinstance(answer, bytes):
        return "OK", answer.hex()
    return "OK", answer if isinstance(answer, str) else text_format.MessageToString(answer, as_one_line=True)


def wait_for(what, seconds: float = 20.0, step: float = 0.02):
    """The first true answer of `what`."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(step)
    return answer
