"""The exported SavedModel: versions, signatures, warm-up, what lies beside it."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfb2d.atomic import read_json
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.model_folder import ABOUT
from tfb2d.outcomes import DecisionNumbers
from tfb2d.serving.export import export
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.servable import Servable
from tfb2d.serving.server.steps import alone, together
from tfb2d.serving.version_folder import WARMUP, write_version
from tfb2d.students.model import Student
from tfb2d.students.text_spec import SPEC

SMALL = StudentConfig(buckets=997, dim=8, ffn=(16,), soft_buckets=101)
QUERIES, TITLES = ["red shoe", "usb cable", "lamp"], ["Red shoes 42", "", "desk lamp"]


def exported(student: Student, folder: Path, fingerprint: str = "one") -> Path:
    texts = [QUERIES, TITLES][-len(student.task.fields) :]
    bias = [0.25] * student.task.n_logits
    return export(student, folder / "shop", scale=2.0, bias=bias, warmup=texts, fingerprint=fingerprint)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, Path]:
    student = Student(Task(("query", "title")), SMALL, 3)
    return student, exported(student, tmp_path_factory.mktemp("models"))


def warmup_logs(folder: Path) -> list[prediction_log_pb2.PredictionLog]:
    records = tf.data.TFRecordDataset(str(folder / WARMUP))
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]


def examples(**columns: list[str]) -> tf.Tensor:
    rows = []
    for values in zip(*columns.values(), strict=True):
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
            for name, value in zip(columns, values, strict=True)
        }
        rows.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return tf.constant(rows)


def test_versions_rise_and_the_same_model_is_not_written_twice(tmp_path: Path) -> None:
    student = Student(Task(("text",)), SMALL, 3)
    assert exported(student, tmp_path).name == "1"
    assert exported(student, tmp_path).name == "1"
    (tmp_path / "shop/7").mkdir()
    assert exported(student, tmp_path, "two").name == "8"
    assert sorted(path.name for path in (tmp_path / "shop").glob("[!.]*")) == ["1", "7", "8"]


def test_exports_at_the_same_time_take_turns(tmp_path: Path) -> None:
    started = threading.Event()

    def write(name: str) -> Callable[[Path], tuple[dict, list]]:
        def work(folder: Path) -> tuple[dict, list]:
            started.set()
            time.sleep(0.2)  # the other one comes meanwhile
            folder.mkdir()
            (folder / name).touch()
            return {}, []

        return work

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(write_version, tmp_path / "model", "a", write("first"))
        started.wait()
        second = pool.submit(write_version, tmp_path / "model", "b", write("second"))
        folders = [first.result(), second.result()]
    assert folders == [tmp_path / "model" / "1", tmp_path / "model" / "2"]
    assert (folders[0] / "first").exists()
    assert (folders[1] / "second").exists()


def test_the_card_states_the_threshold(pair: tuple[Student, Path], tmp_path: Path) -> None:
    assert read_json(pair[1] / ABOUT)["decision"] is None
    decision = DecisionNumbers(0.25, 0.8, 0.75, 0.857, 90)
    folder = export(
        Student(Task(("text",)), SMALL, 3),
        tmp_path,
        scale=1.0,
        bias=[0.0],
        warmup=[["a"]],
        fingerprint="x",
        decision=decision,
    )
    about = read_json(folder / ABOUT)["decision"]
    assert about == {"threshold": 0.25, "f1": 0.8, "precision": 0.75, "recall": 0.857, "rows": 90}


def test_every_signature_gives_the_students_scores(pair: tuple[Student, Path]) -> None:
    student, folder = pair
    served = tf.saved_model.load(str(folder)).signatures
    assert sorted(served) == ["classify", "rank", "regress", "serving_default"]
    logit = student.model([tf.constant(QUERIES), tf.constant(TITLES)]).numpy()[:, 0]
    score = 1 / (1 + np.exp(-(2.0 * logit + 0.25)))
    out = served["serving_default"](query=tf.constant(QUERIES), title=tf.constant(TITLES))
    np.testing.assert_allclose(out["logit"], logit, atol=1e-5)
    np.testing.assert_allclose(out["score"], score, atol=1e-5)
    inputs = examples(query=QUERIES, title=TITLES)
    np.testing.assert_allclose(served["regress"](inputs=inputs)["outputs"], score, atol=1e-5)
    classified = served["classify"](inputs=inputs)
    np.testing.assert_allclose(classified["scores"], np.stack([1 - score, score], 1), atol=1e-5)
    assert classified["classes"].numpy().tolist() == [[b"0", b"1"]] * 3
    ranked = served["rank"](query=tf.constant(QUERIES), titles=tf.constant([TITLES] * 3))["scores"].numpy()
    np.testing.assert_allclose(ranked[[0, 2], [0, 2]], score[[0, 2]], atol=1e-5)
    assert (ranked[:, 1] == 0).all()  # "" pads


@pytest.mark.parametrize(("queries", "titles"), [(1, 2), (2, 1), (3, 1), (3, 5), (0, 1)])
def test_inputs_with_other_numbers_of_rows_are_refused(queries: int, titles: int, pair: tuple[Student, Path]) -> None:
    served = tf.saved_model.load(str(pair[1])).signatures
    query = tf.constant(["usb cable"] * queries, tf.string)
    with pytest.raises(tf.errors.InvalidArgumentError, match="query and titles must have the same number of rows"):
        served["rank"](query=query, titles=tf.constant([["usb", ""]] * titles))
    with pytest.raises(tf.errors.InvalidArgumentError, match="query and title must have the same number of rows"):
        served["serving_default"](query=query, title=tf.constant(["usb"] * titles))


def test_classes_of_a_multiclass_task_go_by_name(tmp_path: Path) -> None:
    student = Student(Task(("text",), "multiclass", ("sport", "politics", "science")), SMALL, 3)
    served = tf.saved_model.load(str(exported(student, tmp_path))).signatures
    assert sorted(served) == ["classify", "serving_default"]
    out = served["classify"](inputs=examples(text=TITLES))
    assert out["classes"].numpy()[0].tolist() == [b"sport", b"politics", b"science"]
    np.testing.assert_allclose(out["scores"].numpy().sum(1), 1, atol=1e-5)


def test_what_lies_beside_the_graph(pair: tuple[Student, Path]) -> None:
    student, folder = pair
    about = read_json(folder / ABOUT)
    assert Task.from_json(about["task"]) == student.task
    assert about["hash_spec"] == SPEC
    assert about["calibration"] == {"scale": 2.0, "bias": [0.25]}
    requested = [log.predict_log.request for log in warmup_logs(folder)]
    assert {request.model_spec.signature_name for request in requested} == {"serving_default", "rank"}
    served = tf.saved_model.load(str(folder)).signatures
    for request in requested:
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        served[request.model_spec.signature_name](**inputs)


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("task", [Task(("query", "title")), Task(("text",), "multiclass", ("a", "b", "c"))])
def test_requests_to_an_export_share_a_run(task: Task, joins: bool, tmp_path: Path) -> None:
    folder = exported(Student(task, SMALL, 3), tmp_path)
    servable = Servable(str(folder), str(folder.parent), Options(join_requests=joins))
    sizes, run = [], servable.run

    def counted(feeds: Mapping, fetches: tuple[str, ...], seconds: float | None) -> list[np.ndarray]:
        sizes.append(len(next(iter(feeds.values()))))
        return run(feeds, fetches, seconds)

    servable.run = counted
    requests = [log.predict_log.request for log in warmup_logs(folder)]
    answers = [[predict_pb2.PredictResponse() for _ in requests] for _ in range(2)]
    for request, answer in zip(requests, answers[0], strict=True):
        alone(servable.answer("Predict", request, answer, None))
    alone_runs, sizes[:] = len(sizes), []
    together([servable.answer("Predict", *pair, None) for pair in zip(requests, answers[1], strict=True)])
    # 3 rows one by one and all 3 at once; a ranking is another signature
    assert len(sizes) == ((2 if len(task.fields) == 2 else 1) if joins else alone_runs)
    for first, second in zip(*answers, strict=True):
        for name, value in first.outputs.items():
            np.testing.assert_allclose(tf.make_ndarray(second.outputs[name]), tf.make_ndarray(value), atol=1e-6)
    servable.close()


def test_one_query_many_titles_is_hashed_once(pair: tuple[Student, Path]) -> None:
    # Ranking runs the text ops twice, once a field, whatever the number of titles.
    graph = tf.saved_model.load(str(pair[1])).signatures["rank"].graph.as_graph_def()
    nodes = [
        node.op for function in (graph, *graph.library.function) for node in getattr(function, "node_def", graph.node)
    ]
    assert 0 < nodes.count("StringSplitV2") <= 2 * 2  # the function's body, and the graph that calls it


def test_a_student_without_interactions_ranks_too(tmp_path: Path) -> None:
    plain = replace(SMALL, products=False, differences=False, matched=False, soft_match=False)
    student = Student(Task(("query", "title")), plain, 3)
    served = tf.saved_model.load(str(exported(student, tmp_path))).signatures
    assert served["rank"](query=tf.constant(QUERIES), titles=tf.constant([TITLES] * 3))["scores"].shape == (3, 3)
