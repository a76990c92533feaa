import os

import pytest

from tfb2d import atomic
from tfb2d.errors import DataError


def test_atomic_write(tmp_path):
    path = tmp_path / "new" / "a.json"
    atomic.write_json(path, {"a": "ä"})
    assert atomic.read_json(path) == {"a": "ä"}
    atomic.write_atomic(path, b"other")
    assert path.read_bytes() == b"other"
    with pytest.raises(DataError, match=r"a\.json is not JSON"):
        atomic.read_json(path)
    assert os.listdir(path.parent) == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    atomic.write_atomic(path, "old")

    def fail() -> None:
        with atomic.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
