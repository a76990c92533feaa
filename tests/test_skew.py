"""Skew cannot be: the same rows by every way there is from strings to scores, real text and random Unicode.

The training graph on cached hashes, the hash spec in plain Python, `tfb2d.score`, the embedded server in a process of its
own (Predict, by requests that share a run too, rank, Classify, Regress; gRPC and REST) and the edge form. Token hashes
agree exactly; scores of the same SavedModel within SAME (batches of other sizes are summed in another order), the edge form
within what `EdgeScorer` states.
"""

import base64
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc, regression_pb2

from tests.students.harness import NASTY, some_rows
from tfb2d.compress.pack import pack
from tfb2d.compress.student import with_tables
from tfb2d.compress.tflite import write_edge
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.edge import EdgeScorer
from tfb2d.evaluation.batch import score_files
from tfb2d.evaluation.scorer import Scorer
from tfb2d.outcomes import Calibration
from tfb2d.serving import Client
from tfb2d.serving.export import export
from tfb2d.serving.local import LocalServer
from tfb2d.students import text_spec
from tfb2d.students.hashing import hash_rows
from tfb2d.students.int8_table import quantise
from tfb2d.students.model import Student

SAME = 2e-6
EDGE = {"float": 1e-5, "int8": 1e-2}
TASKS = {
    "text": Task(("text",), "binary"),
    "topics": Task(("text",), "multiclass", ("sport", "trade", "arts")),
    "pairs": Task(("query", "title"), "binary"),
}
MODELS = ["text_float", "topics_int8", "pairs_float", "pairs_int8"]  # by the tables' form, and the edge model's
MAX_TOKENS = 24
Rows = list[tuple[bytes, ...]]


@dataclass
class Ways:
    """A student with all that was made of it."""

    name: str
    task: Task
    student: Student
    calibration: Calibration
    folder: Path  # the version's
    scorer: Scorer
    edge: EdgeScorer
    edge_step: float  # how far its scores may be off

    def score(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated scores `[n]` or `[n, k]` of logits `[n, k]`."""
        return self.calibration.apply(logits[:, 0] if self.task.n_logits == 1 else logits)


def make(name: str, folder: Path) -> Ways:
    """A student with weights as large as training leaves them, so that scores spread."""
    kind, form = name.split("_")
    task = TASKS[kind]
    shape = StudentConfig(buckets=4096, dim=16, orders=(1, 2, 3), max_tokens=MAX_TOKENS, ffn=(24, 8), soft_buckets=512)
    student = Student(task, shape, 3)
    random = np.random.default_rng(5)
    for weight in student.trunk.weights:
        if weight.dtype == tf.float32:
            weight.assign(weight + random.normal(0, 0.3, weight.shape).astype(np.float32))
    if form == "int8":
        if kind == "pairs":  # rows that training never read share a few
            student = pack(student, some_rows(task, folder / "rows"))
        else:
            tables = {table: quantise(layer.table.numpy()) for table, layer in student.embeddings.items()}
            student = with_tables(student, tables)
    calibration = Calibration(0.8, tuple(0.1 * i - 0.2 for i in range(task.n_logits)))
    version = export(
        student,
        folder / name,
        scale=calibration.scale,
        bias=calibration.bias,
        warmup=[["red shoe"]] * len(task.fields),
        fingerprint=name,
    )
    write_edge(student, folder / "edge" / name, calibration.scale, calibration.bias, form)
    edge = EdgeScorer(folder / "edge" / name)
    return Ways(name, task, student, calibration, version, Scorer(version), edge, EDGE[form])


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ways]:
    folder = tmp_path_factory.mktemp("models")
    made = {name: make(name, folder) for name in MODELS}
    return made.__getitem__


@dataclass
class Served:
    """A running server: its gRPC and REST addresses."""

    address: str
    rest: str

    def post(self, model: str, method: str, document: Any) -> Any:
        request = urllib.request.Request(
            f"http://{self.rest}/v1/models/{model}:{method}", json.dumps(document).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def served(ways: Callable[[str], Ways], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """All models on one server, in a process of its own."""
    config = tmp_path_factory.mktemp("server") / "models.config"
    entries = (
        f'config {{name: "{n}" base_path: "{ways(n).folder.parent}" model_platform: "tensorflow"}}' for n in MODELS
    )
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LocalServer(["--embedded", f"--model_config_file={config}", f"--rest_api_port={port}"], 300) as server:
        yield Served(server.address, f"127.0.0.1:{port}")


def columns_of(rows: Rows) -> list[list[bytes]]:
    return [list(column) for column in zip(*rows, strict=True)]


def by_training_graph(one: Ways, rows: Rows, folder: Path) -> np.ndarray:
    """Logits of the graph that is trained, on hashes as training caches them."""
    columns = [np.array([*column, None], object)[:-1] for column in columns_of(rows)]
    targets = np.zeros((len(rows), one.task.n_logits), np.float32)
    cached = hash_rows(columns, targets, folder, MAX_TOKENS)
    return one.student.trunk(cached.batch(np.arange(len(rows)))[0], training=False).numpy()


def by_spec(one: Ways, rows: Rows) -> np.ndarray:
    """Logits of the same graph, on hashes made by the spec in plain Python."""
    ragged = []
    for column in columns_of(rows):
        hashes = [text_spec.token_hashes(text, MAX_TOKENS) for text in column]
        splits = np.cumsum([0, *map(len, hashes)])
        values = np.concatenate([np.zeros(0, np.int64), *hashes])
        ragged.append(tf.RaggedTensor.from_row_splits(values, splits.astype(np.int64)))
    return one.student.trunk(ragged, training=False).numpy()


def by_predict(one: Ways, served: Served, rows: Rows) -> np.ndarray:
    with Client(served.address, one.name, fields=one.task.fields, timeout=60) as client:
        return client.score(rows)


def by_requests_at_once(one: Ways, served: Served, rows: Rows) -> np.ndarray:
    """A request a row, all in flight at the same time, so that the server joins them."""
    requests = [predict_pb2.PredictRequest() for _ in rows]
    for request, row in zip(requests, rows, strict=True):
        request.model_spec.name = one.name
        for field, text in zip(one.task.fields, row, strict=True):
            request.inputs[field].CopyFrom(tf.make_tensor_proto([text]))
    with grpc.insecure_channel(served.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        limit = threading.Semaphore(16)  # more than the server takes at once it refuses
        answers = []
        for request in requests:
            limit.acquire()
            answers.append(stub.Predict.future(request, timeout=60))
            answers[-1].add_done_callback(lambda _: limit.release())
        return np.concatenate([tf.make_ndarray(answer.result().outputs["score"]) for answer in answers])


def by_rest(one: Ways, served: Served, rows: Rows) -> np.ndarray:
    instances = [
        {name: {"b64": base64.b64encode(text).decode()} for name, text in zip(one.task.fields, row, strict=True)}
        for row in rows
    ]
    if len(one.task.fields) == 1:
        instances = [instance[one.task.fields[0]] for instance in instances]
    answers = served.post(one.name, "predict", {"instances": instances})["predictions"]
    return np.array([answer["score"] for answer in answers])


def example_of(task: Task, row: Sequence[bytes]) -> tf.train.Example:
    example = tf.train.Example()
    for name, text in zip(task.fields, row, strict=True):
        example.features.feature[name].bytes_list.value.append(text)
    return example


def by_examples(one: Ways, served: Served, rows: Rows) -> list[np.ndarray]:
    """Classify and Regress over gRPC, and REST's Classify."""
    found = []
    with grpc.insecure_channel(served.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        requests = [classification_pb2.ClassificationRequest()]
        requests += [regression_pb2.RegressionRequest()] if one.task.n_logits == 1 else []
        for request in requests:
            request.model_spec.name = one.name
            request.input.example_list.examples.extend(example_of(one.task, row) for row in rows)
        requests[0].model_spec.signature_name = "classify"
        classes = stub.Classify(requests[0], timeout=60).result.classifications
        scores = np.array([[part.score for part in answer.classes] for answer in classes])
        found.append(scores if one.task.n_logits > 1 else scores[:, 1])
        if len(requests) > 1:
            requests[1].model_spec.signature_name = "regress"
            found.append(np.array([a.value for a in stub.Regress(requests[1], timeout=60).result.regressions]))
    examples = [
        {name: {"b64": base64.b64encode(text).decode()} for name, text in zip(one.task.fields, row, strict=True)}
        for row in rows
    ]
    document = {"signature_name": "classify", "examples": examples}
    results = served.post(one.name, "classify", document)["results"]
    scores = np.array([[score for _, score in result] for result in results])
    found.append(scores if one.task.n_logits > 1 else scores[:, 1])
    return found


def by_rank(one: Ways, served: Served, rows: Rows) -> list[np.ndarray]:
    """Every title under the first row's query: as plain pairs, as a ranking, and the same over REST."""
    query, titles = rows[0][0], [row[1] or b"x" for row in rows]
    with Client(served.address, one.name, timeout=60) as client:
        found = [client.score([(query, title) for title in titles]), client.rank(query, titles)]
    document = {
        "signature_name": "rank",
        "inputs": {
            "query": [{"b64": base64.b64encode(query).decode()}],
            "titles": [[{"b64": base64.b64encode(title).decode()} for title in titles]],
        },
    }
    return [*found, np.array(served.post(one.name, "predict", document)["outputs"][0])]


def check(one: Ways, served: Served, rows: Rows, folder: Path) -> np.ndarray:
    """Scores rows in every way and compares; returns the scores."""
    logits = by_training_graph(one, rows, folder / "rows")
    np.testing.assert_array_equal(by_spec(one, rows), logits)  # the same hashes: the same bits
    expected = one.score(logits)
    scores, served_logits = one.scorer.score(columns_of(rows))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=SAME)
    np.testing.assert_allclose(served_logits.reshape(logits.shape), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_predict(one, served, rows), expected, rtol=0, atol=SAME)
    np.testing.assert_allclose(by_requests_at_once(one, served, rows), expected, rtol=0, atol=SAME)
    np.testing.assert_allclose(by_rest(one, served, rows), expected, rtol=0, atol=SAME)
    for found in by_examples(one, served, rows):
        np.testing.assert_allclose(found, expected, rtol=0, atol=SAME)
    np.testing.assert_allclose(one.edge.score(*columns_of(rows)), expected, rtol=0, atol=one.edge_step)
    if len(one.task.fields) == 2:
        pairs, *ranked = by_rank(one, served, rows)
        for found in ranked:
            np.testing.assert_allclose(found, pairs, rtol=0, atol=SAME)
        query, titles = rows[0][0], [row[1] or b"x" for row in rows]
        np.testing.assert_allclose(one.edge.rank(query, titles), pairs, rtol=0, atol=one.edge_step)
    return expected


def pairs_of(texts: Sequence[bytes], fields: int) -> Rows:
    return [tuple(texts[(row * 7 + field * 3) % len(texts)] for field in range(fields)) for row in range(len(texts))]


@pytest.mark.parametrize("name", MODELS)
def test_real_text(name: str, ways: Callable[[str], Ways], served: Served, snippets: Path, tmp_path: Path) -> None:
    one = ways(name)
    with snippets.open(encoding="utf-8") as file:
        real = [next(file).split("\t")[0].encode() for _ in range(120)][1:]
    # what is no UTF-8, too, and texts at the edge of what is kept
    odd = [b"\xff\xfe", b"caf\xe9", b"a\0b", "ＡＢＣ１２３".encode(), b"w " * (MAX_TOKENS + 3), b"x" * 5000]
    texts = [*real, *odd, *(text.encode() for text in NASTY)]
    scores = check(one, served, pairs_of(texts, len(one.task.fields)), tmp_path)
    assert scores.std() > 0.02  # a constant would agree with anything


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("name", MODELS)
def test_random_unicode(
    name: str,
    ways: Callable[[str], Ways],
    served: Served,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    one = ways(name)
    text = st.one_of(
        st.text(max_size=40).map(str.encode),
        st.text(alphabet="aA bB1.,-ßéİıΣςﬁ漢字🙂\u200d\u0301\ufeff\u3000\x00\x85", max_size=30).map(str.encode),
        st.binary(max_size=20),
    )
    row = st.tuples(*[text] * len(one.task.fields))
    check(one, served, data.draw(st.lists(row, min_size=1, max_size=24)), tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("name", MODELS)
def test_files_are_scored_alike(
    name: str, ways: Callable[[str], Ways], served: Served, snippets: Path, tmp_path: Path
) -> None:
    """`tfb2d.score` on every format, which the other ways get the same texts of."""
    one = ways(name)
    with snippets.open(encoding="utf-8") as file:
        real = [next(file).split("\t")[0].encode() for _ in range(60)][1:]
    texts = [*real, "łódź 🚲\u3000x".encode(), "“quoted”, \"and\" 'so'".encode(), b"a\nb\rc", b"0"]
    rows = pairs_of(texts, len(one.task.fields))
    expected = by_predict(one, served, rows)
    lines = [dict(zip(one.task.fields, (text.decode() for text in row), strict=True)) for row in rows]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for end in ("jsonl", "csv", "parquet"):
        score_files(one.scorer, [tmp_path / "in.jsonl"], tmp_path / f"out.{end}", progress=False)
        again = tmp_path / f"again_{end}.jsonl"  # what was written, read and scored once more
        prefix = "second_"
        score_files(one.scorer, [tmp_path / f"out.{end}"], again, prefix=prefix, progress=False)
        found = [json.loads(line) for line in again.read_text().splitlines()]
        names = ["score"] if one.task.n_logits == 1 else [f"score_{label}" for label in one.task.classes]
        for start in ("", prefix):
            scores = np.array([[float(row[start + column]) for column in names] for row in found])
            np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=0, atol=SAME)
