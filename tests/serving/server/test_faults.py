"""What goes wrong in production, with real processes: half-copied models, swaps under load, kills, slow clients."""

import json
import shutil
import signal
import socket
import ssl
import threading
import time
import warnings

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from tests.serving.server.certificates import make_certificates
from tests.serving.server.embedded import UNLIMITED, Local, Server, outcome, predict_request, wait_for
from tests.serving.server.tiny_models import put

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TEXT = np.array([b"a short string"], object)
# Both gRPC transports; the public one in the long run.
BOTH = [pytest.param((), id="fast"), pytest.param(("--accelerate=false",), id="public", marks=pytest.mark.slow)]
FAST = ("--max_num_load_retries=0", "--load_retry_interval_micros=1000")


def ask(server, **spec):
    """The answer's mark and its version."""
    answer = server.predictions.Predict(predict_request(inputs={"text": TEXT}, **spec), timeout=10)
    return answer.outputs["score"].float_val[0], answer.model_spec.version.value


class Load:
    """Threads that ask as fast as they are answered; keeps every answer that is not as it should be."""

    def __init__(self, server, model, threads=2):
        self.model = model
        self.server, self.count, self.wrong, self._stop = server, 0, [], threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        with grpc.insecure_channel(f"127.0.0.1:{self.server.port}", options=UNLIMITED) as channel:
            call = channel.unary_unary(PREDICT, response_deserializer=predict_pb2.PredictResponse.FromString)
            data = predict_request(self.model, inputs={"text": TEXT}).SerializeToString()
            while not self._stop.is_set():
                try:
                    answer = call(data, timeout=20)
                    mark, version = answer.outputs["score"].float_val[0], answer.model_spec.version.value
                    if mark != 2.0 - version % 2:  # odd versions are made of model 1, even ones of model 2
                        self.wrong.append((mark, version))
                except grpc.RpcError as error:
                    self.wrong.append((error.code().name, error.details()))
                self.count += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module", params=BOTH)
def many(marked, request, tmp_path_factory):
    """A server of one model a test, each with a version 1 that answers 1.0; `ask` and `base` take the model's name."""
    folder = tmp_path_factory.mktemp("many")
    names = ("swapped", "half", "cut", "linked")
    for name in names:
        put(marked / "source-1", folder / name / "1")
    models = "".join(
        f'config {{ name: "{name}" base_path: "{folder}/{name}" model_platform: "tensorflow" }}' for name in names
    )
    (folder / "models.cfg").write_text(f"model_config_list {{ {models} }}")
    flags = ["--model_config_file=models.cfg", f"--grpc_socket_path={folder}/s.sock", *FAST, *request.param]
    with Local(folder, *flags, rest=False) as server:
        yield folder, server


def swap_under_load(marked, many, swaps):
    folder, server = many
    before = ask(server, model="swapped")[1]
    with Load(server, "swapped") as load:
        for version in range(before + 1, before + swaps + 1):
            put(marked / f"source-{2 - version % 2}", folder / f"swapped/{version}")
            wait_for(lambda version=version: ask(server, model="swapped")[1] == version, 60)
        wait_for(lambda: load.count > 100, 60)
    assert load.wrong == []
    done = f"Done unloading servable version {{name: swapped version: {before + swaps - 1}}}"
    wait_for(lambda: done in server.log())


def test_hot_swaps_lose_no_request(marked, many):
    swap_under_load(marked, many, 3)


@pytest.mark.slow
def test_twenty_hot_swaps_lose_no_request(marked, many):
    swap_under_load(marked, many, 20)


def test_a_folder_half_way_through_a_copy_is_never_served(marked, many):
    """Files arrive one by one and grow; nothing of version 2 is served before the last byte, and then it is."""
    folder, server = many
    source, target = marked / "source-2", folder / "half/2"
    for path in sorted(path for path in source.rglob("*") if path.is_file()):  # saved_model.pb before its variables
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        piece = len(data) // 4 + 1
        with copy.open("wb") as out:
            for start in range(0, len(data), piece):
                out.write(data[start : start + piece])
                out.flush()
                assert ask(server, model="half") == (1.0, 1)
                time.sleep(0.15)
    assert ask(server, model="half") == (1.0, 1)  # not before it has been left alone for a while
    wait_for(lambda: ask(server, model="half") == (2.0, 2), 60)
    assert "failed to load" not in "".join(line for line in server.log().splitlines() if "name: half" in line)


def test_a_cut_data_file_is_refused_and_repaired(marked, many):
    """A copy that stalled for long looks finished; it does not load, the old version serves, the rest is noticed."""
    folder, server = many
    put(marked / "source-2", folder / "aside/2")
    data = folder / "aside/2/variables/variables.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    (folder / "aside/2").rename(folder / "cut/2")
    wait_for(lambda: "failed to load" in server.log(), 60)
    assert ask(server, model="cut") == (1.0, 1)
    (folder / "cut/2/variables/variables.data-00000-of-00001").write_bytes(whole)
    wait_for(lambda: ask(server, model="cut") == (2.0, 2), 60)


def test_links_out_of_the_base_path_are_not_followed(marked, many):
    folder, server = many
    shutil.copytree(marked / "source-2", folder / "linked/aside")
    outside = folder / "outside.pb"
    (folder / "linked/aside/saved_model.pb").rename(outside)
    (folder / "linked/aside/saved_model.pb").symlink_to(outside)
    (folder / "linked/aside").rename(folder / "linked/2")
    wait_for(lambda: "PERMISSION_DENIED" in server.log(), 60)
    assert ask(server, model="linked") == (1.0, 1)


def test_unix_socket_and_loopback_only(many):
    folder, server = many
    with grpc.insecure_channel(f"unix:{folder}/s.sock") as channel:
        data = predict_request("half", inputs={"text": TEXT}).SerializeToString()
        assert outcome(lambda: channel.unary_unary(PREDICT)(data, timeout=10))[0] == "OK"
    other = socket.socket()
    other.settimeout(2)
    with other, pytest.raises(OSError, match=r"refused|timed out|unreachable"):
        other.connect(("127.0.0.2", server.port))


@pytest.mark.parametrize("flag", BOTH)
def test_kill_and_return(marked, tmp_path, flag):
    """After SIGKILL a client is served again as soon as the server is back, on the channel that it has."""
    put(marked / "source-1", tmp_path / "models/1")
    flags = ["--model_name=demo", f"--model_base_path={tmp_path}/models", *flag]
    with Server(tmp_path, *flags, rest=False) as first:
        options = [*UNLIMITED, ("grpc.max_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(f"127.0.0.1:{first.port}", options=options) as channel:
            call = channel.unary_unary(PREDICT)
            data = predict_request(inputs={"text": TEXT}).SerializeToString()
            call(data, timeout=10)
            first.stop(signal.SIGKILL)
            assert outcome(lambda: call(data, timeout=10))[0] == "UNAVAILABLE"
            with Server(tmp_path, *flags, rest=False, port=first.port):
                back = time.monotonic()
                wait_for(lambda: outcome(lambda: call(data, timeout=10))[0] == "OK", 10)
                assert time.monotonic() - back < 1.5


@pytest.mark.parametrize("flag", BOTH)
def test_termination_drains(tree, tmp_path, flag):
    """A request in work when SIGTERM comes is answered; later ones are not; the process ends with 0."""
    flags = ["--model_name=demo", f"--model_base_path={tree}/demo", "--enable_grpc_healthcheck_service", *flag]
    with Server(tmp_path, *flags) as server:
        watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
        assert next(watch) == b"\x08\x01"
        request = predict_request(signature="slow", inputs={"n": np.int32(30_000)})  # some seconds
        pending = server.predictions.Predict.future(request, timeout=60)
        rest: list = []
        body = '{"signature_name": "slow", "inputs": 30000}'
        thread = threading.Thread(
            target=lambda: rest.append(server.http("POST", "/v1/models/demo:predict", body, timeout=60))
        )
        thread.start()
        time.sleep(0.5)
        assert not pending.done()
        server.process.send_signal(signal.SIGTERM)
        assert next(watch) == b"\x08\x02"  # NOT_SERVING
        assert pending.result().outputs["r"].float_val
        thread.join()
        assert rest[0][0] == 200
        assert server.wait_exit(60) == 0
        assert "stopped" in server.log()
        assert "embedded server" in server.log()


def test_a_run_that_outlasts_the_drain_does_not_keep_the_process(tree, tmp_path):
    flags = ["--model_name=demo", f"--model_base_path={tree}/demo", "--drain_seconds=0.5"]
    with Server(tmp_path, *flags, rest=False) as server:
        request = predict_request(signature="slow", inputs={"n": np.int32(10**9)})
        pending = server.predictions.Predict.future(request, timeout=600)
        time.sleep(1.0)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit(30) == 0
        assert pending.code() != grpc.StatusCode.OK


@pytest.fixture(scope="module", params=BOTH)
def narrow(tree, request, tmp_path_factory):
    """A server with all limits low."""
    folder = tmp_path_factory.mktemp("narrow")
    flags = ["--model_name=demo", f"--model_base_path={tree}/demo", "--grpc_max_threads=2", "--rest_api_num_threads=2"]
    with Local(folder, *flags, *request.param, "--max_request_bytes=100000", "--max_string_bytes=1000") as server:
        yield server


def test_limits_by_flag(narrow):
    def ask(length):
        request = predict_request(signature="text", inputs={"t": np.array([b"a" * length], object)})
        return outcome(narrow.predictions.Predict, request, timeout=10)[0]

    assert [ask(1000), ask(1001), ask(200_000)] == ["OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]
    assert narrow.http("POST", "/v1/models/demo:predict", "x" * 200_000)[0] == 413


def test_slow_and_idle_clients_do_not_stop_service(narrow):
    """100 calls without a message, 300 idle connections and drip-fed HTTP; the others are answered as before."""
    idle = []
    held = threading.Event()

    def never():
        held.wait(60)
        yield b""

    request = predict_request(inputs={"x": np.ones((1, 4), np.float32)})
    channel = grpc.insecure_channel(f"127.0.0.1:{narrow.port}")
    try:
        for port in (narrow.port, narrow.rest_port):
            idle += [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
        dripping = [socket.create_connection(("127.0.0.1", narrow.rest_port)) for _ in range(20)]
        for connection in dripping:
            connection.sendall(b"POST /v1/models/demo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        idle += dripping
        loris = [channel.stream_unary(PREDICT).future(never(), timeout=60) for _ in range(100)]
        time.sleep(0.5)
        for _ in range(20):
            assert outcome(narrow.predictions.Predict, request, timeout=10)[0] == "OK"
            assert narrow.http("GET", "/v1/models/demo")[0] == 200
        assert not any(call.done() for call in loris)
    finally:
        held.set()
        for connection in idle:
            connection.close()
        channel.close()


@pytest.mark.parametrize("flag", BOTH)
def test_more_than_the_limit_is_refused_at_once(tree, tmp_path, flag):
    """--grpc_max_threads requests in work; one more, not known to be quick, is RESOURCE_EXHAUSTED."""

    def slow(n):
        return predict_request(signature="slow", inputs={"n": np.int32(n)})

    flags = ["--model_name=demo", f"--model_base_path={tree}/demo", "--grpc_max_threads=2", *flag]
    with Local(tmp_path, *flags) as server:
        predict = server.predictions.Predict
        pending = [predict.future(slow(10**8), timeout=4) for _ in range(2)]
        time.sleep(1.0)
        started = time.monotonic()
        answers = {outcome(predict, slow(1), timeout=4) for _ in range(20)}
        assert time.monotonic() - started < 2.5
        assert answers == {("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")}
        assert {call.code() for call in pending} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        wait_for(lambda: outcome(predict, slow(1), timeout=4)[0] == "OK", 20)


@pytest.fixture(scope="module", params=BOTH)
def secured(marked, request, tmp_path_factory):
    """A server that asks clients for a certificate."""
    folder = tmp_path_factory.mktemp("secured")
    made = make_certificates()
    texts = {"server_key": made.server_key, "server_cert": made.server_cert, "custom_ca": made.ca_cert}
    config = "".join(f"{name}: {json.dumps(text)}\n" for name, text in texts.items()) + "client_verify: true\n"
    (folder / "ssl.cfg").write_text(config)
    put(marked / "source-1", folder / "models/1")
    flags = ["--ssl_config_file=ssl.cfg", "--model_name=demo", f"--model_base_path={folder}/models", *request.param]
    with Local(folder, *flags, rest=False) as server:
        yield made, server


def test_mutual_tls(secured):
    """Only a client with a certificate of the authority is let in, and the key appears in no log line."""
    made, server = secured
    foreign = make_certificates()
    data = predict_request(inputs={"text": TEXT}).SerializeToString()

    def code(key=None, certificate=None):
        files = [part and part.encode() for part in (made.ca_cert, key, certificate)]
        with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials(*files)) as channel:
            return outcome(lambda: channel.unary_unary(PREDICT)(data, timeout=5))[0]

    assert code(made.client_key, made.client_cert) == "OK"
    assert code() == "UNAVAILABLE"
    assert code(foreign.client_key, foreign.client_cert) == "UNAVAILABLE"
    assert made.server_key.splitlines()[1] not in server.log()


def test_old_tls_is_refused(secured, tmp_path):
    made, server = secured
    (tmp_path / "client.pem").write_text(made.client_cert + made.client_key)

    def handshake(newest):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.1 is old is the point
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.maximum_version = newest
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_verify_locations(cadata=made.ca_cert)
        context.load_cert_chain(tmp_path / "client.pem")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return secure.version()

    assert handshake(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(ssl.TLSVersion.TLSv1_1)
