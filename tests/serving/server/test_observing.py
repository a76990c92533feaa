"""What an operator sees: metrics, request logs, health, and the speed beside a bare echo."""

import re
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.server.embedded import UNLIMITED, Server, outcome, predict_request, wait_for
from tests.serving.server.tiny_models import put
from tfb2d.serving.local import LocalServer
from tfb2d.serving.server.configuration import from_proto
from tfb2d.serving.server.errors import StatusError
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.options import FlagError, Options
from tfb2d.serving.server.request_log import RequestLogs

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def test_metrics_have_the_official_names(shared):
    for model in ("demo", "demo", "no such model"):
        request = predict_request(model, inputs={"x": np.ones((1, 4), np.float32)})
        outcome(shared.predictions.Predict, request, timeout=10)
    shared.http("POST", "/v1/models/demo:predict", '{"instances": [[1,1,1,1]]}')
    status, headers, text = shared.http("GET", "/monitoring/prometheus/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain")

    def value(series):
        match = re.search(re.escape(series) + r" (\d+)", text)
        return int(match[1]) if match else 0

    assert value(':tensorflow:serving:request_count{model_name="demo",status="OK"}') >= 3
    assert value(':tensorflow:serving:request_count{model_name="no such model",status="NOT_FOUND"}') >= 1
    for api, entry in (("Predict", "GRPC"), ("predict", "REST")):
        labels = f'{{model_name="demo",API="{api}",entrypoint="{entry}"}}'
        assert value(":tensorflow:serving:request_latency_count" + labels) >= 1
    assert value(':tensorflow:serving:runtime_latency_count{model_name="demo",API="Predict",runtime="TF1"}') >= 3
    bounds = re.findall(r'request_latency_bucket\{[^}]*entrypoint="GRPC",le="([^"]+)"\}', text)[:4]
    assert bounds == ["10", "18", "32.4", "58.32"]


def test_prometheus_itself_reads_the_metrics(shared):
    """Names begin with a colon, and label values hold what clients send."""
    metrics = Metrics()
    metrics.requests.add('a"b\\c\n{}', "OK")
    metrics.latency.observe(15.0, "demo", "Predict", "GRPC")
    metrics.latency.observe(1e12, "demo", "Predict", "GRPC")
    metrics.examples_total.add("demo", count=3)
    metrics.batched(0.001, 4)
    for text in (metrics.text(), shared.http("GET", "/monitoring/prometheus/metrics")[2]):
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families[":tensorflow:serving:request_latency"].type == "histogram"
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    (sample,) = families[":tensorflow:serving:request_count"].samples
    assert (sample.labels["model_name"], sample.value) == ('a"b\\c\n{}', 1)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families[":tensorflow:serving:request_latency"].samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["10"], buckets["18"], buckets["+Inf"], len(buckets)) == (0, 1, 2, 34)
    (total,) = families[":tensorflow:serving:request_example_count"].samples  # the parser drops "_total"
    assert (total.name, total.value) == (":tensorflow:serving:request_example_count_total", 3)


def test_model_names_cannot_fill_the_memory():
    metrics = Metrics()
    for index in range(2_000):
        metrics.requests.add(f"model{index}", "NOT_FOUND")
        metrics.latency.observe(1.0, f"model{index}", "Predict", "GRPC")
    assert metrics.text().count("request_count{") == 1_000
    assert metrics.text().count("request_latency_count{") == 1_000


def test_metadata_over_rest(shared):
    status, _, text = shared.http("GET", "/v1/models/demo/versions/1/metadata")
    assert status == 200
    assert '"version": "1"' in text
    assert '"serving_default"' in text


def test_classify_and_regress_over_rest(shared):
    import json

    examples = '"examples": [{"x": [1.0, 2.0, 3.0, 4.5]}, {"x": [1.0, 2.0, 3.0, 4.0]}]'
    for name in ("classify", "regress"):
        body = f'{{"signature_name": "{name}", {examples}}}'
        status, _, text = shared.http("POST", f"/v1/models/demo:{name}", body)
        assert status == 200
        results = json.loads(text)["results"]
        assert len(results) == 2
        assert results[1] == pytest.approx(210.0) if name == "regress" else results[1][0][0] == "c0"


def read_logs(folder):
    files = sorted(map(str, folder.glob("*.tfrecord")))
    records = tf.data.TFRecordDataset(files).as_numpy_iterator() if files else []
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def log_some(log, count):
    for number in range(count):
        entry = prediction_log_pb2.PredictionLog()
        entry.predict_log.request.CopyFrom(predict_request("demo", inputs={"t": np.array([b"%d" % number], object)}))
        log.put("demo", 3, entry)


def logs(folder, metrics, rate=1.0, megabytes=1024):
    return RequestLogs(
        Options(log_requests=str(folder), log_requests_rate=rate, log_requests_max_mb=megabytes), metrics
    )


def test_the_request_log_holds_requests_and_their_metadata(tmp_path):
    metrics = Metrics()
    log = logs(tmp_path, metrics, rate=0.5)
    assert 300 < sum(log.draws("demo") for _ in range(1000)) < 700
    log_some(log, 100)
    assert not list(tmp_path.glob("*.tfrecord"))  # a reader never meets a file that still grows
    log.close()
    entries = read_logs(tmp_path)
    assert [log.predict_log.request.inputs["t"].string_val[0] for log in entries] == [b"%d" % n for n in range(100)]
    assert entries[0].log_metadata.model_spec.version.value == 3
    assert entries[0].log_metadata.sampling_config.sampling_rate == 0.5
    assert list(entries[0].log_metadata.saved_model_tags) == ["serve"]
    assert abs(entries[0].log_metadata.timestamp_secs - time.time()) < 600
    assert 'request_log_count{model_name="demo",status="OK"} 100' in metrics.text()


def test_lost_entries_are_counted(tmp_path):
    """A folder that is full, and one that was taken away; the metric says so while the log is open."""
    metrics = Metrics()
    full = logs(tmp_path / "full", metrics, megabytes=0)
    log_some(full, 10)
    wait_for(lambda: 'status="RESOURCE_EXHAUSTED"} 10' in metrics.text())
    full.close()
    assert read_logs(tmp_path / "full") == []
    lost = logs(tmp_path / "lost", metrics)
    (tmp_path / "lost").rmdir()
    (tmp_path / "lost").write_text("a file stands here")
    log_some(lost, 10)
    lost.close()
    assert 'status="UNKNOWN"} 10' in metrics.text()


@pytest.fixture(scope="module")
def logging_server(marked, tmp_path_factory):
    """A server that logs the requests of "demo" as its flags say, and those of "own" as its logging_config says."""
    folder = tmp_path_factory.mktemp("logging")
    own = f'log_collector_config {{ filename_prefix: "{folder}/own/x-" }} sampling_config {{ sampling_rate: 1 }}'
    models = ""
    for name, more in (("demo", ""), ("own", f"logging_config {{ {own} }}")):
        put(marked / "source-1", folder / name / "1")
        models += f'config {{ name: "{name}" base_path: "{folder}/{name}" model_platform: "tensorflow" {more} }}'
    (folder / "models.cfg").write_text(f"model_config_list {{ {models} }}")
    flags = ["--model_config_file=models.cfg", f"--log_requests={folder}/log", "--log_requests_rate=1"]
    with Server(folder, *flags, rest=False) as server:
        yield folder, server


def score_request():
    return predict_request(inputs={"text": np.array([b"a short string to be scored"], object)})


def rate(port, data, seconds, threads=4):
    """Requests a second of a closed loop."""
    counts = [0] * threads
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel:
        call = channel.unary_unary(PREDICT)
        call(data, timeout=10)
        end = time.monotonic() + seconds

        def work(number):
            while time.monotonic() < end:
                call(data, timeout=10)
                counts[number] += 1

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return sum(counts) / seconds


def test_speed_beside_a_bare_echo(logging_server):
    """Batch-1 requests a second against a bare gRPC echo of the same bytes: the target is 0.7 on a quiet
    machine; this holds half of it on a busy one, with every request logged."""
    _, server = logging_server
    with LocalServer([], module="tfb2d.bench.echo") as echo:
        data = score_request().SerializeToString()
        pairs = [(rate(server.port, data, 0.7), rate(echo.port, data, 0.7)) for _ in range(3)]
        assert max(ours / bare for ours, bare in pairs) > 0.35, pairs


def test_requests_are_logged_by_the_server(logging_server):
    folder, server = logging_server
    answer = server.predictions.Predict(score_request(), timeout=10)
    request = score_request()
    request.model_spec.name = "own"
    server.predictions.Predict(request, timeout=10)
    assert server.stop() == 0
    assert [log.predict_log.request for log in read_logs(folder / "own")] == [request]
    assert all(path.name.startswith("x-own-") for path in (folder / "own").glob("*.tfrecord"))
    entries = wait_for(lambda: read_logs(folder / "log"))
    last = entries[-1].predict_log
    assert last.request == score_request()
    assert last.response == answer


def model_config(prefix="/x/y-", kind="", rate=1.0):
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name="demo", base_path="/m", model_platform="tensorflow")
    model.logging_config.log_collector_config.filename_prefix = prefix
    model.logging_config.log_collector_config.type = kind
    model.logging_config.sampling_config.sampling_rate = rate
    return config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "pubsub"}, "NOT_FOUND: Cannot find LogCollector::Factory for type: pubsub"),
        ({"prefix": "x"}, "needs an absolute filename_prefix"),
        ({"rate": 2.0}, "it is a share"),
    ],
)
def test_a_logging_config_that_cannot_work_is_refused(fields, message):
    with pytest.raises(StatusError, match=message):
        from_proto(model_config(**fields), {})


def test_callers_cannot_have_files_written():
    """HandleReloadConfigRequest may repeat the logging_config of the file, and change nothing in it."""
    current = {settings.name: settings for settings in from_proto(model_config(), {})}
    assert from_proto(model_config(), current, remote=True)
    for known in (current, {}):
        with pytest.raises(StatusError, match="can only be changed in --model_config_file"):
            from_proto(model_config("/elsewhere/"), known, remote=True)


def test_logs_follow_the_configuration(tmp_path):
    """A model that gets a logging_config has a log of its own; one that loses it goes back to the server's."""
    metrics = Metrics()
    log = logs(tmp_path / "all", metrics)
    log.configure({model.name: model for model in from_proto(model_config(f"{tmp_path}/own/"), {})})
    log_some(log, 3)
    log.configure({})
    assert len(read_logs(tmp_path / "own")) == 3
    log_some(log, 2)
    log.configure({model.name: model for model in from_proto(model_config("/proc/nowhere/"), {})})  # not to be written
    log_some(log, 4)
    log.close()
    assert len(read_logs(tmp_path / "all")) == 2
    assert 'status="UNKNOWN"} 4' in metrics.text()


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(FlagError, match="--log_requests=/proc/nowhere cannot be written"):
        RequestLogs(Options(log_requests="/proc/nowhere"), Metrics())


def rss(server):
    """Resident megabytes."""
    with open(f"/proc/{server.process.pid}/status") as lines:
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_is_flat_over_a_million_requests(marked, tmp_path):
    put(marked / "source-1", tmp_path / "models/1")
    with Server(tmp_path, "--model_name=demo", f"--model_base_path={tmp_path}/models", rest=False) as server:
        data = score_request().SerializeToString()
        done, sizes = 0.0, []
        while done < 10**6:
            done += 10 * rate(server.port, data, 10.0, threads=8)
            sizes.append(rss(server))
        assert predict_pb2.PredictResponse.FromString(server.raw(PREDICT, data)).outputs
        early = sizes[len(sizes) // 10]
        assert sizes[-1] < early * 1.05, sizes
