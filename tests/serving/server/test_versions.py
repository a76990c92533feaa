"""Version folders: which count, which a policy takes, and when one has come to rest."""

import os
import threading
import time

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import file_system_storage_path_source_pb2

from tfb2d.serving.server.versions import choose, fingerprint, scan, wait_until_settled

Policy = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy


def test_scan(tmp_path):
    for name in ("1", "000007", "abc", "-3", "2.aside", "99999999999999999999"):
        (tmp_path / name).mkdir()
    (tmp_path / "5").write_text("no folder")
    assert scan(str(tmp_path)) == {1: str(tmp_path / "1"), 7: str(tmp_path / "000007")}
    assert scan(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("", [9]),
        ("latest { num_versions: 2 }", [9, 4]),
        ("latest { num_versions: 9 }", [9, 4, 1]),
        ("all {}", [9, 4, 1]),
        ("specific { versions: 1 versions: 4 versions: 8 }", [4, 1]),
    ],
)
def test_choose(policy, chosen):
    assert choose({1: "a", 4: "b", 9: "c"}, text_format.Parse(policy, Policy())) == chosen


def test_fingerprint_sees_any_change_and_no_reading(tmp_path):
    (tmp_path / "variables").mkdir()
    file = tmp_path / "variables" / "data"
    file.write_bytes(b"1234")
    os.utime(file, (0, 0))  # a copy that keeps dates
    before = fingerprint(str(tmp_path))
    assert time.time() - before[0] < 60
    file.read_bytes()
    assert fingerprint(str(tmp_path)) == before
    time.sleep(0.02)
    file.write_bytes(b"1235")
    os.utime(file, (0, 0))
    assert fingerprint(str(tmp_path))[1] != before[1]


def test_settling_waits_for_a_growing_file_and_not_for_an_old_folder(tmp_path):
    file = tmp_path / "saved_model.pb"

    def copy():
        with file.open("wb") as out:
            for _ in range(12):
                out.write(b"x")
                out.flush()
                time.sleep(0.05)

    file.write_bytes(b"")
    thread = threading.Thread(target=copy)
    thread.start()
    wait_until_settled(str(tmp_path), 0.4, threading.Event())
    assert file.stat().st_size == 12
    thread.join()
    started = time.monotonic()
    wait_until_settled(str(tmp_path), 0.4, threading.Event())
    assert time.monotonic() - started < 0.2
    cancelled = threading.Event()
    cancelled.set()
    file.write_bytes(b"new")
    wait_until_settled(str(tmp_path), 60.0, cancelled)
