"""A client's request log: what is in its files, what is lost and counted, and that no call feels it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.scoring_server import score
from tfb2d.serving import AsyncClient, Client, RequestLog
from tfb2d.serving.record_files import Limits, RecordFiles
from tfb2d.serving.tfrecord import frame


def read(folder):
    """The records of all complete files, as TensorFlow reads them."""
    paths = sorted(str(path) for path in folder.glob("*.tfrecord"))
    return list(tf.data.TFRecordDataset(paths).as_numpy_iterator()) if paths else []


def logged(folder):
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in read(folder)]


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_tensorflow_reads_the_frames(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("frames") / "log"
    path.write_bytes(b"".join(map(frame, records)))
    assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == records


def test_every_record_is_in_a_file_and_files_are_closed_by_size(tmp_path):
    records = [os.urandom(100 + number) for number in range(50)]
    files = RecordFiles(tmp_path / "new" / "folder", "x-", Limits(file_bytes=1000))
    assert all(map(files.put, records))
    files.close()
    paths = sorted((tmp_path / "new" / "folder").iterdir())
    assert 5 <= len(paths) <= 10
    assert all(path.name.startswith("x-") and path.suffix == ".tfrecord" for path in paths)
    assert read(tmp_path / "new" / "folder") == records
    assert (files.written, files.dropped, files.failed) == (50, 0, 0)
    files.close()
    assert not files.put(b"late")
    assert files.dropped == 1


def test_a_file_is_complete_after_its_time(tmp_path):
    files = RecordFiles(tmp_path, limits=Limits(file_seconds=0.05))
    files.put(b"a")
    until(lambda: read(tmp_path) == [b"a"])
    files.put(b"b")
    until(lambda: read(tmp_path) == [b"a", b"b"])
    assert not list(tmp_path.glob("*.part"))
    files.close()


def test_a_full_queue_and_a_full_folder_cost_records_that_are_counted(tmp_path):
    small = RecordFiles(tmp_path / "queue", limits=Limits(queue_bytes=10))
    assert not small.put(bytes(11))
    small.close()
    assert (small.written, small.dropped) == (0, 1)
    full = RecordFiles(tmp_path / "folder", limits=Limits(folder_bytes=1))
    (tmp_path / "folder" / "old.tfrecord").write_bytes(b"xx")
    assert full.put(b"a")
    full.close()
    assert (full.written, full.dropped) == (0, 1)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["old.tfrecord"]


LIMITED = """
import resource, signal, sys
from tfb2d.serving.record_files import RecordFiles
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
files = RecordFiles(sys.argv[1])
for number in range(20):
    files.put(bytes([number]) * 200)
files.put(bytes(5000))
files.put(b"last")
files.close()
print(files.written, files.dropped, files.failed)
"""


def test_a_disk_that_refuses_costs_the_record_that_met_it(tmp_path):
    """A file may have 1,000 bytes here, which is four records of 216 and a part of the fifth."""
    run = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    records = read(tmp_path)  # every file ends at a whole record: TensorFlow would report a torn one
    written, dropped, failed = map(int, run.stdout.split())
    assert (written, dropped) == (len(records), 0)
    assert written + failed == 22
    assert failed == 5  # every fifth small one, and the large one
    assert records[-1] == b"last"
    assert "records are lost: File too large" in run.stderr
    assert not list(tmp_path.glob("*.part"))


KILLED = """
import os, signal, sys, time
from tfb2d.serving.record_files import RecordFiles
files = RecordFiles(sys.argv[1])
for number in range(100):
    files.put(b"record")
while files.written < 100:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_whole_records(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path])
    assert run.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".tfrecord.part")
    assert part.read_bytes() == frame(b"record") * 100


def test_the_file_is_completed_when_the_process_exits(tmp_path, server):
    code = (
        "import sys; from tfb2d.serving import Client, RequestLog\n"
        "Client(sys.argv[1], 'text', request_log=RequestLog(sys.argv[2], rate=1)).score(['a'])"
    )
    subprocess.run([sys.executable, "-c", code, server.address, tmp_path], check=True)
    assert len(logged(tmp_path)) == 1


def test_both_clients_log_what_was_asked_and_answered(tmp_path, server):
    with RequestLog(tmp_path, rate=1) as log:
        with Client(server.address, "pair", request_log=log, chunk_rows=2) as client:
            client.score([("q", "a"), ("q", "b"), ("r", "c")])  # two requests

        async def ask():
            async with AsyncClient(server.address, "pair", version=2, request_log=log) as client:
                await client.rank("q", ["a", "b"])

        before = int(time.time())
        asyncio.run(ask())
    assert log.counts == {"written": 3, "dropped": 0, "failed": 0}
    entries = sorted(logged(tmp_path), key=lambda entry: entry.log_metadata.model_spec.version.value)
    ranking, *chunks = entries
    assert ranking.log_metadata.model_spec.name == "pair"
    assert ranking.log_metadata.model_spec.version.value == 2
    assert ranking.log_metadata.sampling_config.sampling_rate == 1
    assert before <= ranking.log_metadata.timestamp_secs <= time.time()
    assert ranking.predict_log.request.model_spec.signature_name == "rank"
    assert tf.make_ndarray(ranking.predict_log.request.inputs["titles"]).tolist() == [[b"a", b"b"]]
    scores = tf.make_ndarray(ranking.predict_log.response.outputs["scores"])
    np.testing.assert_array_equal(scores, np.array([[score("q", "a"), score("q", "b")]]))
    rows = [len(tf.make_ndarray(entry.predict_log.request.inputs["query"])) for entry in chunks]
    assert sorted(rows) == [1, 2]


def test_the_sample_has_its_share(tmp_path, server):
    with RequestLog(tmp_path, rate=0.25) as log, Client(server.address, "text", request_log=log) as client:
        for _ in range(400):
            client.score(["a"])
    assert 50 < log.counts["written"] < 150  # binomial: mean 100, standard deviation 8.7
    assert len(logged(tmp_path)) == log.counts["written"]
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            RequestLog(tmp_path, rate=rate)


def test_calls_succeed_whatever_becomes_of_the_log(tmp_path, server):
    folder = tmp_path / "log"
    with (
        RequestLog(folder, rate=1, limits=Limits(file_seconds=0.02)) as log,
        Client(server.address, "text", request_log=log) as client,
    ):
        client.score(["a"])
        until(lambda: len(read(folder)) == 1)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        client.score(["b"])
        until(lambda: log.counts["failed"] == 1)
        folder.mkdir()
        client.score(["c"])
        until(lambda: len(read(folder)) == 1)
    with RequestLog(tmp_path / "tiny", rate=1, limits=Limits(queue_bytes=1)) as log:
        with Client(server.address, "text", request_log=log) as client:
            np.testing.assert_array_equal(client.score(["a"]), [score("a")])
        assert log.counts == {"written": 0, "dropped": 1, "failed": 0}


def test_threads_share_a_log(tmp_path, server):
    with RequestLog(tmp_path, rate=1) as log, Client(server.address, "text", request_log=log, timeout=30) as client:
        threads = [threading.Thread(target=lambda: [client.score(["a"]) for _ in range(25)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(logged(tmp_path)) == 200


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RequestLog(tmp_path / "file" / "log")
