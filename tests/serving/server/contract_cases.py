"""Asks the embedded server what was once asked of a real one.

An answer is a (code, text) pair for gRPC, (status, content type, body) for REST, and for what a process does its exit
status and the decisive lines of its log. Cases bear the names under which the answers were recorded.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import numpy as np
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
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

from tests.serving.server.certificates import make_certificates
from tests.serving.server.embedded import Local, Server, ones, outcome, predict_request, wait_for
from tests.serving.server.tiny_models import put

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
P = "/v1/models/demo:predict"
X = ones(2, 4)
FAST = ("--max_num_load_retries=0", "--load_retry_interval_micros=1000")


def labelled_config(tree: Path) -> str:
    return f"""model_config_list {{
      config {{ name: "demo" base_path: "{tree}/demo" model_platform: "tensorflow"
        model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
        version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }} }}
      config {{ name: "other" base_path: "{tree}/other" model_platform: "tensorflow" }} }}"""


def ask_everything(shared: Server, tree: Path, work: Path) -> dict[str, object]:
    answers: dict[str, object] = {}
    answers.update(ask_predict(shared))
    answers.update(ask_examples(shared))
    answers.update(ask_services(shared))
    answers.update(ask_rest(shared))
    scenarios: list[Callable[[Path, Path], dict[str, object]]] = [
        hot_swaps, reloads, batches, corrupt_later, starts, failing_starts, tls,
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        folders = [work / str(number) for number in range(len(scenarios))]
        for folder in folders:
            folder.mkdir()
        for answered in pool.map(lambda scenario, folder: scenario(tree, folder), scenarios, folders):
            answers.update(answered)
    return answers


def _ask(server: Server, timeout: float = 5.0, **request: object) -> tuple[str, str]:
    return outcome(server.predictions.Predict, predict_request(**request), timeout=timeout)


def ask_predict(server: Server) -> dict[str, object]:
    ask = partial(_ask, server)
    short = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    short.tensor_shape.dim.add(size=2)
    short.tensor_shape.dim.add(size=4)
    negative = tensor_pb2.TensorProto(dtype=1)
    negative.tensor_shape.dim.add(size=-1)
    negative.tensor_shape.dim.add(size=4)
    a, only = ones(1, 2), ("s",)
    return {
        "predict ok": ask(inputs={"x": X}),
        "predict ok tensor_content": ask(inputs={"x": X}, only=only),
        "predict version 1": ask(version=1, inputs={"x": X}, only=only),
        "predict label stable": ask(label="stable", inputs={"x": X}, only=only),
        "predict label unknown": ask(label="nope", inputs={"x": X}),
        "predict other dir 000007": ask(model="other", inputs={"x": X}, only=only),
        "model not found": ask(model="nope", inputs={"x": X}),
        "version not found": ask(version=99, inputs={"x": X}),
        "empty model name": ask(model="", signature="a", inputs={"x": X}),
        "signature not found": ask(signature="zz", inputs={"x": X}),
        "extra input": ask(inputs={"x": X, "q": X}),
        "wrong name same count": ask(inputs={"q": X}),
        "missing one of two": ask(signature="two", inputs={"a": a}),
        "wrong dtype double": ask(inputs={"x": X.astype(np.float64)}),
        "wrong dtype in two": ask(signature="two", inputs={"a": a, "b": np.ones((1, 1), np.int32)}),
        "wrong dim": ask(inputs={"x": ones(2, 5)}),
        "wrong rank 1": ask(inputs={"x": ones(4)}),
        "wrong rank 3": ask(inputs={"x": ones(1, 2, 4)}),
        "zero rows": ask(inputs={"x": ones(0, 4)}),
        "float_val fewer than shape (pads last)": ask(inputs={"x": short}),
        "empty TensorProto (dtype invalid)": ask(inputs={"x": tensor_pb2.TensorProto()}),
        "negative dim": ask(inputs={"x": negative}),
        # Not recorded as answers, but in the contract's tables:
        "no spec": outcome(server.predictions.Predict, predict_pb2.PredictRequest(), timeout=5),
        "output filter unknown": ask(inputs={"x": X}, only=("zz",)),
        "output filter duplicate": ask(inputs={"x": X}, only=("y", "y")),
        "init op": ask(signature="__saved_model_init_op"),
        "deadline": ask(0.3, signature="slow", inputs={"n": np.int32(10**6)}),
    }


def _example(key: str = "x") -> example_pb2.Example:
    example = example_pb2.Example()
    example.features.feature[key].float_list.value.extend([1, 2, 3, 4.0])
    return example


def _with_examples(kind: type, model: str, signature: str, examples: list) -> object:
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(examples)
    return request


def ask_examples(server: Server) -> dict[str, object]:
    def classify(model: str = "demo", signature: str = "classify", examples: list | None = None) -> tuple[str, str]:
        examples = [_example()] * 2 if examples is None else examples
        request = _with_examples(classification_pb2.ClassificationRequest, model, signature, examples)
        return outcome(server.predictions.Classify, request, timeout=5)

    def regress(signature: str = "regress") -> tuple[str, str]:
        request = _with_examples(regression_pb2.RegressionRequest, "demo", signature, [_example()] * 2)
        return outcome(server.predictions.Regress, request, timeout=5)

    def multi(*tasks: tuple[str, str, str], examples: int = 1) -> tuple[str, str]:
        request = inference_pb2.MultiInferenceRequest()
        for model, signature, method in tasks:
            task = request.tasks.add(method_name=method)
            task.model_spec.name = model
            task.model_spec.signature_name = signature
        request.input.example_list.examples.extend([_example()] * examples)
        return outcome(server.predictions.MultiInference, request, timeout=5)

    task = ("demo", "classify", CLASSIFY)
    empty = inference_pb2.MultiInferenceRequest()
    return {
        "classify ok": classify(),
        "classify default sig (predict sig)": classify(signature=""),
        "classify unknown sig": classify(signature="zz"),
        "classify missing feature": classify(examples=[_example("nope")]),
        "classify model not found": classify("nope"),
        "classify no spec": outcome(server.predictions.Classify, classification_pb2.ClassificationRequest(), timeout=5),
        "regress ok": regress(),
        "regress on text sig": regress("text"),
        "multi ok": multi(task, ("demo", "regress", REGRESS)),
        "multi dup sig": multi(task, task),
        "multi different models": multi(task, ("other", "regress", REGRESS)),
        "multi bad method": multi(("demo", "classify", "foo")),
        "multi unknown sig": multi(("demo", "zz", CLASSIFY)),
        "multi empty": outcome(server.predictions.MultiInference, empty, timeout=5),
        "classify empty": classify(examples=[]),
    }


def _status(server: Server, model: str = "demo", version: int | None = None) -> tuple[str, str]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    return outcome(server.models.GetModelStatus, request, timeout=5)


def _metadata(server: Server, model: str = "demo", fields: tuple[str, ...] = ("signature_def",)) -> object:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model:
        request.model_spec.name = model
    try:
        answer = server.predictions.GetModelMetadata(request, timeout=5)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    shown = text_format.MessageToString(signatures.signature_def["serving_default"], as_one_line=True)
    return {
        "model_spec": text_format.MessageToString(answer.model_spec, as_one_line=True),
        "keys": sorted(signatures.signature_def),
        "type_url": answer.metadata["signature_def"].type_url,
        "serving_default": shown,
    }


def ask_services(server: Server) -> dict[str, object]:
    health, service = "/grpc.health.v1.Health/Check", "/tensorflow.serving.PredictionService/"
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    return {
        "metadata ok": _metadata(server),
        "metadata none": _metadata(server, fields=()),
        "metadata bad field": _metadata(server, fields=("foo",)),
        "metadata model not found": _metadata(server, "nope"),
        "metadata no spec": _metadata(server, ""),
        "status ok": _status(server),
        "status v99": _status(server, version=99),
        "status unknown model": _status(server, "nope"),
        "unknown method": outcome(server.raw, service + "Nope"),
        "unknown service": outcome(server.raw, "/foo.Bar/Baz"),
        "garbage bytes to Predict": outcome(server.raw, service + "Predict", b"\xff\xff\xff"),
        "health ''": outcome(server.raw, health),
        "health PredictionService": outcome(server.raw, health, b"\n\x11PredictionService"),
        "health ModelService": outcome(server.raw, health, b"\n\x0cModelService"),
        "health full name": outcome(server.raw, health, b"\n$tensorflow.serving.PredictionService"),
        "reflection": outcome(server.raw, reflection),
    }


def _rest(server: Server, method: str, path: str, body: str | None = None) -> dict[str, object]:
    status, headers, text = server.http(method, path, body)
    return {"status": status, "ctype": headers.get("Content-Type"), "headers": sorted(headers), "body": text}


REST_CASES = {
    "GET model": ("GET", "/v1/models/demo"),
    "GET /v1/models": ("GET", "/v1/models"),
    "GET /v1/models/": ("GET", "/v1/models/"),
    "GET /": ("GET", "/"),
    "GET /foo": ("GET", "/foo"),
    "GET predict": ("GET", P),
    "two col missing": ("POST", P, '{"signature_name":"two","inputs":{"a":[[1,2]]}}'),
    "two plain list": ("POST", P, '{"signature_name":"two","instances":[[1,2]]}'),
    "bad json": ("POST", P, "{"),
    "empty body": ("POST", P, ""),
    "both keys": ("POST", P, '{"instances":[[1,1,1,1]],"inputs":[[1,1,1,1]]}'),
    "REST wrong dim": ("POST", P, '{"instances":[[1,1,1]]}'),
    "ragged": ("POST", P, '{"instances":[[1,1,1,1],[1]]}'),
    "string for float": ("POST", P, '{"instances":[["a","b","c","d"]]}'),
    "instances not list": ("POST", P, '{"instances":3}'),
    "instances empty": ("POST", P, '{"instances":[]}'),
    "sig non-string": ("POST", P, '{"signature_name":3,"instances":[[1]]}'),
    "POST nope": ("POST", "/v1/models/nope:predict", '{"instances":[[1,1,1,1]]}'),
    "POST v1": ("POST", "/v1/models/demo/versions/1:predict", '{"instances":[[1,1,1,1]]}'),
    "POST bad label": ("POST", "/v1/models/demo/labels/zz:predict", '{"instances":[[1,1,1,1]]}'),
    "POST no verb": ("POST", "/v1/models/demo", "{}"),
    "DELETE": ("DELETE", "/v1/models/demo"),
    "regress": ("POST", "/v1/models/demo:regress", '{"signature_name":"regress","examples":[{"x":[1,2,3,4.5]}]}'),
    "classify no examples": ("POST", "/v1/models/demo:classify", "{}"),
    "case-insens path": ("GET", "/V1/MODELS/demo"),
}


def ask_rest(server: Server) -> dict[str, object]:
    answers: dict[str, object] = {case: _rest(server, *request) for case, request in REST_CASES.items()}
    metrics = server.http("GET", "/monitoring/prometheus/metrics")[2]
    answers["prometheus names"] = [line.split()[2:] for line in metrics.splitlines() if line.startswith("# TYPE")]
    return answers


def _served(server: Server, **spec: object) -> object:
    try:
        request = predict_request(inputs={"x": X}, only=("s",), **spec)
        return server.predictions.Predict(request, timeout=5).model_spec.version.value
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


def _until(server: Server, expected: object) -> list[object]:
    """What was served, without repetitions, until `wanted` is; within 10 s."""
    seen: list[object] = []

    def look() -> bool:
        now = _served(server)
        if not seen or seen[-1] != now:
            seen.append(now)
        return now == expected

    wait_for(look, 10)
    return seen


def decisive(log: str) -> list[str]:
    """The lines of a log that answer the operator: what failed, or was not understood."""
    lines = log.splitlines()
    first = next((n for n, line in enumerate(lines) if "Failed to start server" in line), len(lines))
    return [line for line in lines[:first] if line.startswith("unknown argument")] + lines[first:]


def hot_swaps(tree: Path, work: Path) -> dict[str, object]:
    put(tree / "src", work / "base/1")
    flags = [f"--model_base_path={work}/base", "--rest_api_timeout_in_ms=200"]
    gone = "NOT_FOUND: Servable not found for request: Latest(demo)"
    with Local(work, "--model_name=demo", *flags) as server:
        answers: dict[str, object] = {
            "hot: initial": _ask(server, inputs={"x": X}, only=("s",)),
            "rest timeout 200ms slow": _rest(server, "POST", P, '{"signature_name":"slow","inputs":200000}'),
            "health not enabled": outcome(server.raw, "/grpc.health.v1.Health/Check"),
        }
        put(tree / "src", work / "base/3")
        answers["hot: new version appears: (seconds, served version)"] = _until(server, 3)
        wait_for(lambda: "END" in _status(server)[1])
        answers["hot: status after v3"] = _status(server)
        answers["hot: request old v1"] = _ask(server, version=1, inputs={"x": X})
        shutil.rmtree(work / "base/3")
        answers["hot: latest dir deleted: (seconds, served)"] = _until(server, 1)
        wait_for(lambda: "END" in _status(server)[1])
        answers["hot: status after delete v3"] = _status(server)
        shutil.rmtree(work / "base/1")
        answers["hot: no versions left: (seconds, served)"] = _until(server, gone)
        wait_for(lambda: "UNLOADING" not in _status(server)[1])
        answers["hot: status none left"] = _status(server)
        answers["hot: log tail"] = decisive(server.log())
    return answers


def corrupt_later(tree: Path, work: Path) -> dict[str, object]:
    put(tree / "src", work / "c/1")
    with Local(work, "--model_name=demo", f"--model_base_path={work}/c", *FAST) as server:
        (work / "c/2").mkdir()
        wait_for(lambda: "NOT_FOUND" in _status(server)[1])
        return {
            "corrupt later: predict still v1": _ask(server, inputs={"x": X}, only=("s",)),
            "corrupt later: status": _status(server),
            "corrupt later REST status": _rest(server, "GET", "/v1/models/demo"),
        }


def starts(tree: Path, work: Path) -> dict[str, object]:
    """Starts that wait or succeed; all at once, for importing TensorFlow takes their time."""
    demo = f"--model_base_path={tree}/demo"
    with (
        Server(work, "--model_name=demo", f"--model_base_path={work}/nothere", wait=False) as waiting,
        Server(work, "--nosuchflag=1", demo, rest=False) as unknown,
        Local(work, "--model_name=warm", f"--model_base_path={tree}/warm", rest=False) as warm,
    ):
        wait_for(lambda: "Could not find base path" in waiting.log(), 60)
        request = predict_request(inputs={"x": X})
        return {
            "missing base path: exit code after 4s (None=running)": waiting.process.poll(),
            "missing base path: log": decisive(waiting.log()),
            "missing base path: grpc up?": outcome(waiting.predictions.Predict, request, timeout=2),
            "unknown flag: exit (None=running)": unknown.process.poll(),
            "unknown flag: log": [line for line in decisive(unknown.log()) if line.startswith("unknown")],
            "warmup ok log": decisive(warm.log()),
        }


def failing_starts(tree: Path, work: Path) -> dict[str, object]:
    put(tree / "src", work / "c/1")
    (work / "c/2").mkdir()
    (work / "labels.cfg").write_text(labelled_config(tree))
    (work / "sizes.cfg").write_text("max_batch_size { value: 8 }\nallowed_batch_sizes: 2\nallowed_batch_sizes: 4\n")
    (work / "batch3.cfg").write_text("max_batch_size { value: 8 }\nbogus: 3\n")
    demo, batching = f"--model_base_path={tree}/demo", "--enable_batching"
    cases = {
        "corrupt latest at startup: alive?": [f"--model_base_path={work}/c", *FAST],
        "warmup bad: exit": ["--model_name=warmbad", f"--model_base_path={tree}/warmbad", *FAST],
        "batch: allowed_batch_sizes last != max: exit": [
            demo, batching, "--batching_parameters_file=sizes.cfg", *FAST,
        ],
        "no base path flag: exit": [],
        "relative base path: exit": ["--model_base_path=rel/path"],
        "batching file w/o enable: exit": [demo, "--batching_parameters_file=x"],
        "labels at startup w/o allow flag: exit": ["--model_config_file=labels.cfg"],
        "batch: bad text proto: exit": [demo, batching, "--batching_parameters_file=batch3.cfg"],
        "batch: missing file: exit": [demo, batching, "--batching_parameters_file=nofile.cfg"],
    }  # fmt: skip
    answers: dict[str, object] = {}
    for case, flags in cases.items():
        flags = flags if any("model_name" in flag for flag in flags) else ["--model_name=demo", *flags]
        with Server(work, *flags, wait=False) as server:
            answers[case] = server.wait_exit()
            name = case.rpartition(":")[0] + ": log"
            answers[name] = [line.replace(str(work), "/models/hot") for line in decisive(server.log())]
    answers["corrupt latest at startup: alive?"] = answers["corrupt latest at startup: alive?"] is None
    return answers


def _model(tree: Path, name: str = "demo", path: str = "", platform: str = "tensorflow", extra: str = "") -> str:
    path = path or f"{tree}/{name}"
    return f'config {{ name: "{name}" base_path: "{path}" model_platform: "{platform}" {extra} }}'


def reloads(tree: Path, work: Path) -> dict[str, object]:
    both = "model_version_policy { specific { versions: 1 versions: 2 } }"
    canary = 'version_labels { key: "canary" value: 2 }'
    stable = 'version_labels { key: "stable" value: 1 }'
    with Local(work, "--model_name=demo", f"--model_base_path={tree}/demo") as server:

        def reload(*models: str, timeout: float = 20.0) -> tuple[str, str]:
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse("model_config_list {" + " ".join(models) + "}", request.config)
            return outcome(server.models.HandleReloadConfigRequest, request, timeout=timeout)

        ask = partial(_ask, server, inputs={"x": X}, only=("s",))
        empty = model_management_pb2.ReloadConfigRequest()
        demo, other = _model(tree), _model(tree, "other")
        answers: dict[str, object] = {
            "reload: empty": outcome(server.models.HandleReloadConfigRequest, empty, timeout=5),
            "reload: dup names": reload(demo, demo),
            "reload: unknown platform (new model)": reload(demo, _model(tree, "o2", f"{tree}/demo", "foo")),
            "reload: change platform": reload(_model(tree, platform="foo")),
            "reload: relative path": reload(_model(tree, path="rel")),
            "reload: no platform": reload(_model(tree, platform="")),
            "reload: add other": reload(demo, other),
            "reload: unchanged": reload(demo, other),
            "reload: other served": ask(model="other"),
            "reload: labels to loaded v2": reload(_model(tree, extra=canary), other),
            "reload: label canary served": ask(label="canary"),
            "reload: labels to not loaded v1": reload(_model(tree, extra=stable), other),
            "reload: label canary still there after failed reload?": ask(label="canary"),
            "reload: specific 1,2": reload(_model(tree, extra=both), other),
        }
        wait_for(lambda: _status(server)[1].count("AVAILABLE") == 2)
        answers["reload: status both"] = _status(server)
        answers["reload: labels both"] = reload(_model(tree, extra=both + stable + canary), other)
        answers["reload: label stable"] = ask(label="stable")
        answers["reload: remove other"] = reload(demo)
        wait_for(lambda: "END" in _status(server, "other")[1])
        answers["reload: other gone"] = ask(model="other")
        answers["reload: other status"] = _status(server, "other")
        ghost = _model(tree, "ghost", "/nonexistent/x")
        missing = "reload: new model whose base path is missing (deadline 4s)"
        started = time.monotonic()
        answers[missing] = reload(demo, ghost, timeout=2.0)
        answers["reload: took"] = time.monotonic() - started
        answers["reload: demo still up after"] = ask()
        answers["reload: refusals are in the log as errors"] = server.log().count("] ReloadConfig failed: INVALID") >= 5
    return answers


def batches(tree: Path, work: Path) -> dict[str, object]:
    (work / "batch.cfg").write_text(
        "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 300000 }\n"
        "max_enqueued_batches { value: 1 }\nnum_batch_threads { value: 1 }\n"
    )
    flags = ["--enable_batching", "--batching_parameters_file=batch.cfg", f"--model_base_path={tree}/demo"]
    with Local(work, "--model_name=demo", *flags) as server:

        def timed(rows: int, signature: str = "", inputs: dict | None = None) -> tuple[float, str]:
            request = predict_request(signature=signature, inputs=inputs or {"x": ones(rows, 4)})
            started = time.monotonic()
            code, text = outcome(server.predictions.Predict, request, timeout=20)
            return time.monotonic() - started, code if code == "OK" else f"{code}: {text}"

        timed(1)
        answers: dict[str, object] = {
            "batch: single request of 1 (timeout 300ms)": timed(1),
            "batch: single request of 4 (full)": timed(4),
            "batch: 5 > max 4": timed(5),
            "batch: 0 rows": timed(0),
        }
        pair = {"a": ones(2, 2), "b": np.ones((1, 1), np.int64)}
        with ThreadPoolExecutor(40) as pool:
            answers["batch: 4 concurrent of 1"] = list(pool.map(timed, [1] * 4))
            shapes = pool.map(lambda width: timed(1, inputs={"x": ones(1, width)}), [4, 5])
            answers["batch: concurrent mismatched shapes [1,4] & [1,5]"] = list(shapes)
            answers["batch: inputs a,b differing dim0"] = timed(1, "two", pair)
            answers["batch: scalar input sig"] = timed(1, "slow", {"n": np.int32(5)})
            texts = [text for _, text in pool.map(timed, [3] * 40)]
        answers["batch: overload 40x3 rows, queue 1"] = [*sorted(set(texts)), texts.count("OK")]
    return answers


def tls(tree: Path, work: Path) -> dict[str, object]:
    made = make_certificates()
    (work / "ssl.cfg").write_text(
        f'server_key: {json.dumps(made.server_key)}\nserver_cert: {json.dumps(made.server_cert)}\ncustom_ca: ""\n'
    )
    flags = [f"--model_base_path={tree}/demo", "--ssl_config_file=ssl.cfg"]
    with Local(work, "--model_name=demo", *flags) as server:
        request = predict_request(inputs={"x": X}, only=("s",))
        answers: dict[str, object] = {"ssl: plaintext client": outcome(server.predictions.Predict, request, timeout=3)}
        credentials = grpc.ssl_channel_credentials(made.ca_cert.encode())
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            parse, data = predict_pb2.PredictResponse.FromString, request.SerializeToString()
            answer = outcome(lambda: parse(predict(data, timeout=5)))
        answers["ssl: tls client"] = answer
        answers["ssl: REST stays plain http"] = _rest(server, "GET", "/v1/models/demo")
        answers["ssl: log"] = "PRIVATE KEY" in server.log()
    return answers
