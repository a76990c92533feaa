"""The reader against TensorFlow's writer, on whole files and on every way of breaking one."""

import gzip
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitor.logs import write
from tfb2d.monitor.tfrecord import records

RECORDS = [os.urandom(size) for size in (0, 1, 3, 12, 100, 2048, 5000)]


def read(path: Path) -> tuple[list[bytes], list[tuple[int, int, int, str]]]:
    broken: list[tuple[int, int, int, str]] = []
    return [data for _, data in records(path, lambda *damage: broken.append(damage))], broken


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_what_tensorflow_writes_is_read(tmp_path: Path, compression: str) -> None:
    assert read(write(tmp_path / "log", RECORDS, compression)) == (RECORDS, [])
    assert read(write(tmp_path / "none", [], compression)) == ([], [])


def test_compressed_files_one_behind_the_other(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", RECORDS).read_bytes()
    (tmp_path / "two").write_bytes(gzip.compress(plain) + gzip.compress(plain))
    assert read(tmp_path / "two") == (RECORDS * 2, [])
    (tmp_path / "cut").write_bytes(gzip.compress(plain)[:-100])
    intact, broken = read(tmp_path / "cut")
    assert intact == RECORDS[: len(intact)]
    assert [record[3] for record in broken] == ["truncated"]


def test_a_changed_byte_costs_its_record_alone(tmp_path: Path) -> None:
    whole = write(tmp_path / "log", RECORDS).read_bytes()
    for at in [*range(220), *range(220, len(whole), 101)]:
        (tmp_path / "bad").write_bytes(whole[:at] + bytes([whole[at] ^ 5]) + whole[at + 1 :])
        intact, broken = read(tmp_path / "bad")
        assert len(broken) == 1, at
        assert len(intact) == len(RECORDS) - 1, at
        assert all(record in RECORDS for record in intact)


def test_an_end_within_a_record_and_junk_before_one(tmp_path: Path) -> None:
    whole = write(tmp_path / "log", RECORDS).read_bytes()
    (tmp_path / "junk").write_bytes(whole[:16] + b"junk" * 500_000 + whole[16:-3])
    intact, broken = read(tmp_path / "junk")
    assert intact == RECORDS[:-1]
    assert [record[1:] for record in broken] == [
        (16, 2_000_000, "no record here"),
        (len(whole) - 5016 + 2_000_000, 5013, "truncated"),
    ]


def test_whole_records_behind_a_torn_one(tmp_path: Path) -> None:
    """Reads a log of a disk that was full for a moment; the length of its torn record reaches into the next ones."""
    for size in (200, 100_000):
        torn = write(tmp_path / "torn", [bytes(size)]).read_bytes()[:50]
        whole = write(tmp_path / "log", RECORDS).read_bytes()
        (tmp_path / "both").write_bytes(whole + torn + whole)
        intact, broken = read(tmp_path / "both")
        assert intact == RECORDS * 2
        reason = "checksum does not match" if size == 200 else "truncated"
        assert broken == [(len(RECORDS) + 1, len(whole), 50, reason)]


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=80), max_size=5), st.binary(max_size=60), st.integers(0, 200))
def test_no_bytes_stop_the_reader(tmp_path_factory: pytest.TempPathFactory, data: list, junk: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "log"
    whole = write(path, data).read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at:])
    intact, broken = read(path)
    assert len(intact) <= len(data)
    assert (intact == data) >= (not junk)
    assert bool(broken) >= (len(intact) < len(data))


def test_a_damaged_file_of_zeros_takes_no_longer(tmp_path: Path) -> None:
    """Reads a file of zeros, which a full disk leaves, in which every byte could begin a length."""
    whole = write(tmp_path / "log", RECORDS).read_bytes()
    (tmp_path / "zeros").write_bytes(whole + bytes(16 << 20) + whole)
    began = time.process_time()
    intact, broken = read(tmp_path / "zeros")
    assert time.process_time() - began < 2
    assert intact == RECORDS * 2
    assert [record[2:] for record in broken] == [(16 << 20, "no record here")]
