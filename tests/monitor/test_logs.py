"""Requests of every kind as rows; records that are no requests are ignored or rejected."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.monitor import logs
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.monitor.logs import LogReader, Rows
from tfb2d.monitor.requests import Ignored, Unroller
from tfb2d.outcomes import Calibration

PAIRS = Task(("query", "title"))
NEWS = Task(("text",), "multiclass", ("a", "b", "c"))
TEXT = Task(("text",))


def unroll(task: Task, record: bytes, calibration: Calibration | None = None):
    return Unroller(task, calibration or Calibration()).read(record)


def test_rows_of_predict() -> None:
    record = logs.predict({"query": [b"q", b"r"], "title": [b"t", b"\xff"]}, {"score": [0.25, 0.5]}, time=7, version=3)
    request = unroll(PAIRS, record)
    assert request.texts == [[b"q", b"r"], [b"t", b"\xff"]]
    np.testing.assert_array_equal(request.scores, [[0.25], [0.5]])
    assert (request.model, request.version, request.time, request.ranked) == ("shop", 3, 7, False)
    classes = unroll(NEWS, logs.predict({"text": [b"x"]}, {"score": [[0.2, 0.3, 0.5]]}))
    np.testing.assert_allclose(classes.scores, [[0.2, 0.3, 0.5]])


def test_a_ranking_is_unrolled_and_its_padding_dropped() -> None:
    columns = {"query": [b"q", b"r"], "titles": [[b"a", b""], [b"b", b"c"]]}
    request = unroll(PAIRS, logs.predict(columns, {"scores": [[0.1, 0.0, 0.0], [0.2, 0.3, 0.0]]}))
    assert request.texts == [[b"q", b"r", b"r"], [b"a", b"b", b"c"]]
    np.testing.assert_allclose(request.scores[:, 0], [0.1, 0.2, 0.3])
    assert (request.padding, request.ranked) == (1, True)


def test_a_logged_logit_becomes_the_score_and_no_answer_becomes_nan() -> None:
    calibration = Calibration(2.0, (1.0,))
    request = unroll(TEXT, logs.predict({"text": [b"x"]}, {"logit": [0.5]}), calibration)
    np.testing.assert_allclose(request.scores[0, 0], 1 / (1 + np.exp(-2.0)), rtol=1e-6)
    assert np.isnan(unroll(TEXT, logs.predict({"text": [b"x"]}, {})).scores).all()
    assert np.isnan(unroll(PAIRS, logs.predict({"query": [b"q"], "titles": [[b"a"]]}, {})).scores).all()


def test_classify_regress_and_both() -> None:
    rows = [{"text": b"x"}, {"text": b"y"}]
    entry = logs.log()
    logs.examples(entry.classify_log.request.input, rows)
    for score in (0.25, 0.75):
        classes = entry.classify_log.response.result.classifications.add().classes
        classes.add(label="no", score=1 - score)
        classes.add(label="yes", score=score)
    np.testing.assert_allclose(unroll(TEXT, entry.SerializeToString()).scores[:, 0], [0.25, 0.75])
    both = logs.log()
    logs.examples(both.multi_inference_log.request.input, rows)
    both.multi_inference_log.response.results.add().classification_result.CopyFrom(entry.classify_log.response.result)
    np.testing.assert_allclose(unroll(TEXT, both.SerializeToString()).scores[:, 0], [0.25, 0.75])
    other = logs.log()
    logs.examples(other.regress_log.request.input, rows)
    for score in (0.25, 0.75):
        other.regress_log.response.result.regressions.add(value=score)
    request = unroll(TEXT, other.SerializeToString())
    assert request.texts == [[b"x", b"y"]]
    np.testing.assert_allclose(request.scores[:, 0], [0.25, 0.75])


def test_a_request_with_fewer_texts_than_its_shape_is_read_as_the_server_read_it() -> None:
    log = logs.prediction_log_pb2.PredictionLog.FromString(logs.predict({"text": [b"x"]}, {"score": [0.5, 0.5]}))
    log.predict_log.request.inputs["text"].tensor_shape.dim[0].size = 2
    assert unroll(TEXT, log.SerializeToString()).texts == [[b"x", b"x"]]
    log.predict_log.response.outputs["score"].ClearField("tensor_content")  # but an answer is complete or damaged
    log.predict_log.response.outputs["score"].float_val.append(0.5)
    with pytest.raises(ValueError, match="1 values for a tensor of shape"):
        unroll(TEXT, log.SerializeToString())


@pytest.mark.parametrize("kind", ["classify_log", "regress_log"])
def test_a_context_is_merged_as_tensorflow_merges_it(kind: str) -> None:
    """Checks the merge of contexts.

    TensorFlow Serving puts each example's bytes behind the context's and parses them as one tf.Example.
    """
    log = logs.log()
    given = getattr(log, kind).request.input.example_list_with_context
    given.context.features.feature["query"].bytes_list.value.append(b"shared")
    given.context.features.feature["title"].bytes_list.value.append(b"shared title")
    for texts in ({"title": b"a"}, {"query": b"own", "title": b"b"}, {"query": b""}, {}):
        features = given.examples.add().features.feature
        for name, text in texts.items():
            features[name].bytes_list.value.append(text)
    merged = [given.context.SerializeToString() + example.SerializeToString() for example in given.examples]
    parsed = tf.io.parse_example(merged, {name: tf.io.FixedLenFeature([], tf.string) for name in PAIRS.fields})
    texts = unroll(PAIRS, log.SerializeToString()).texts
    assert texts == [parsed[name].numpy().tolist() for name in PAIRS.fields]
    assert texts == [[b"shared", b"own", b"", b"shared"], [b"a", b"b", b"shared title", b"shared title"]]


@pytest.mark.parametrize("kind", ["", "bytes_list", "int64_list"])
def test_an_examples_own_empty_feature_is_what_tensorflow_says_it_is(kind: str) -> None:
    """Checks empty features.

    A feature without a kind counts as missing, so the context's is taken. A kind without values is an error.
    """
    log = logs.log()
    given = log.regress_log.request.input.example_list_with_context
    for name in PAIRS.fields:
        given.context.features.feature[name].bytes_list.value.append(b"shared")
    feature = given.examples.add().features.feature["title"]
    if kind:
        getattr(feature, kind).SetInParent()
    merged = given.context.SerializeToString() + given.examples[0].SerializeToString()
    expected = {name: tf.io.FixedLenFeature([], tf.string) for name in PAIRS.fields}
    if kind:
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.io.parse_example([merged], expected)
        with pytest.raises(ValueError, match="example 0 has 0 texts in 'title'"):
            unroll(PAIRS, log.SerializeToString())
    else:
        assert tf.io.parse_example([merged], expected)["title"].numpy() == [b"shared"]
        assert unroll(PAIRS, log.SerializeToString()).texts == [[b"shared"], [b"shared"]]


def test_what_has_no_rows_says_why() -> None:
    session = logs.log()
    session.session_run_log.request.SetInParent()
    for record, reason in [
        (session.SerializeToString(), "session run"),
        (logs.log().SerializeToString(), "no request"),
        (logs.predict({"picture": [b"x"]}, {}), "inputs picture"),
    ]:
        with pytest.raises(Ignored, match=reason):
            unroll(TEXT, record)
    for record in (
        b"\xff\xff\xff",
        logs.predict({"query": [b"q"], "title": []}, {}),
        logs.predict({"query": [b"q"], "titles": [[b"a", b"b"]]}, {"scores": [[0.5]]}),
        logs.predict({"query": [b"q"], "title": [b"t"]}, {"score": [0.5, 0.5]}),
    ):
        with pytest.raises(ValueError, match=r"PredictionLog|one text a row|shape"):
            unroll(PAIRS, record)


def test_a_folder_of_files_some_broken(tmp_path: Path) -> None:
    good = [logs.predict({"text": [f"t{i}".encode()] * (i % 3 + 1)}, {"score": [0.5] * (i % 3 + 1)}) for i in range(9)]
    logs.write(tmp_path / "a.tfrecord", [*good, b"\xff\xff"], "GZIP")
    whole = logs.write(tmp_path / "b", good).read_bytes()
    (tmp_path / "b").write_bytes(whole[:-3])
    os.utime(tmp_path / "b", (1_000_000, 1_000_000))
    (tmp_path / "c.part").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"this is no log")
    logs.write(tmp_path / "d", [logs.predict({"text": [b"x"]}, {}, model="other"), logs.log().SerializeToString()])
    reader = LogReader(
        [str(tmp_path)], Unroller(TEXT, Calibration()), tmp_path.parent / "broken.jsonl", "shop", 1, False
    )
    read = list(reader.rows())
    assert sum(map(len, read)) == 18 + 15
    counts = reader.counts
    assert (counts.files, counts.unfinished, counts.records, counts.requests, counts.rows) == (4, 1, 19, 17, 33)
    assert counts.broken == {"not a PredictionLog": 1, "truncated": 1, "no record here": 1}
    assert counts.ignored == {"another model or version": 1, "no request": 1}
    assert counts.models == {"shop/1": 33}
    rows: Rows = read[0]
    assert rows.texts[0][:3] == [b"t0", b"t1", b"t1"]
    assert rows.requests[:4].tolist() == [0, 1, 1, 2]
    assert set(rows.times[18:].tolist()) == {1_000_000}  # as old as the file, since the records do not say
    lines = [json.loads(line) for line in (tmp_path.parent / "broken.jsonl").read_text().splitlines()]
    assert [(Path(entry["file"]).name, entry["row"]) for entry in lines] == [
        ("a.tfrecord", 10),
        ("b", 9),
        ("notes.txt", 1),
    ]


def test_a_file_whose_writer_was_killed_is_read(tmp_path: Path) -> None:
    records = [logs.predict({"text": [b"x"]}, {"score": [0.5]}) for _ in range(3)]
    path = logs.write(tmp_path / "a.tfrecord.part", records)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"1 are not complete yet"):
        LogReader([str(tmp_path)], Unroller(TEXT, Calibration()))
    os.utime(path, (1_000_000, 1_000_000))
    reader = LogReader([str(tmp_path)], Unroller(TEXT, Calibration()), progress=False)
    assert sum(map(len, reader.rows())) == 2
    assert (reader.counts.unfinished, reader.counts.broken) == (0, {"truncated": 1})


def test_no_log_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no log files"):
        LogReader([str(tmp_path)], Unroller(TEXT, Calibration()))
    logs.write(tmp_path / "a", [logs.predict({"picture": [b"x"]}, {})])
    with pytest.raises(DataError, match="no request for this model in 1 files: 1 inputs picture"):
        list(LogReader([str(tmp_path)], Unroller(TEXT, Calibration()), progress=False).rows())
    logs.write(tmp_path / "a", [logs.predict({"text": []}, {"score": []})])
    with pytest.raises(DataError, match="no rows in the logs' 1 requests"):
        list(LogReader([str(tmp_path)], Unroller(TEXT, Calibration()), progress=False).rows())


def test_a_time_that_cannot_be_is_none() -> None:
    for time, known in [(1_700_000_000, 1_700_000_000), (1_700_000_000_000, 0), (-5, 0)]:
        assert unroll(TEXT, logs.predict({"text": [b"x"]}, {}, time=time)).time == known
