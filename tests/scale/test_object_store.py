"""Files of an S3-compatible server on this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from tfb2d.config import LabelConfig
from tfb2d.data.readers import Reading
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError
from tfb2d.scale.object_store import bring_here, is_remote, place_of
from tfb2d.scale.prepare_config import PrepareConfig
from tfb2d.scale.prepare_files import prepare_files
from tfb2d.teachers.files import label_files


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The options that lead to a server; its bucket `logs` is empty."""
    pytest.importorskip("moto.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1&allow_bucket_creation=true"
        finally:
            process.kill()
            process.wait()


def put(server: str, name: str, content: bytes) -> None:
    store, path = fs.FileSystem.from_uri(f"s3://logs/{name}{server}")
    store.create_dir("logs")
    with store.open_output_stream(path) as file:
        file.write(content)


@pytest.mark.slow
def test_files_of_a_bucket_are_labelled(server: str, saved: Path, tmp_path: Path) -> None:
    put(server, "day/1.tsv", b"query\ttitle\nred\tshoe\nblue\that\n")
    put(server, "day/2.jsonl", b'{"query": "red", "title": "hat"}\n{"query": \n')
    put(server, "day/_SUCCESS", b"")
    put(server, "day/notes.txt", b"not rows")
    out, config = tmp_path / "out", LabelConfig()
    inputs = [f"s3://logs/day{server}"]
    outcome = label_files(saved, inputs, out, config, reading=Reading(0.5), progress=False)
    assert (outcome.rows, outcome.rejected) == (3, 1)
    assert read_table(out)["title"].to_pylist() == ["shoe", "hat", "hat"]
    assert "day/2.jsonl" in (tmp_path / "out.rejected.jsonl").read_text()
    assert not (tmp_path / ".out.inputs").exists()
    made = (out / "part-00000.parquet").stat().st_mtime_ns
    label_files(saved, inputs, out, config, reading=Reading(0.5), progress=False)
    assert (out / "part-00000.parquet").stat().st_mtime_ns == made  # done before

    config = PrepareConfig(("query", "title"), max_rejected=0.5)
    told = prepare_files(inputs, [f"s3://logs/day/1.tsv{server}"], tmp_path / "prepared", config, progress=False)
    assert (told.rows, told.rejected, told.leaked, told.kept) == (4, 1, 2, 1)
    assert read_table(tmp_path / "prepared")["title"].to_pylist() == ["hat"]
    assert not (tmp_path / ".prepared.inputs").exists()

    here = bring_here(["own.tsv", f"s3://logs/day/*.tsv{server}"], tmp_path / "copies")
    assert here == ["own.tsv", str(tmp_path / "copies/logs/day/1.tsv")]
    copy = Path(here[1])
    before = copy.stat()
    bring_here([f"s3://logs/day/1.tsv{server}"], tmp_path / "copies")
    assert os.path.samestat(copy.stat(), before)  # kept
    put(server, "day/1.tsv", b"query\ttitle\nred\tshoe\nblue\tsunset\n")  # another size: times are whole seconds
    bring_here([f"s3://logs/day/1.tsv{server}"], tmp_path / "copies")
    assert copy.read_bytes().endswith(b"sunset\n")
    with pytest.raises(DataError, match=r"s3://logs/day/\*\.csv.*: nothing found"):
        bring_here([f"s3://logs/day/*.csv{server}"], tmp_path / "copies")


@pytest.mark.parametrize(
    ("pattern", "remote"), [("s3://logs/day", True), ("pypi:reviews", False), ("a/s3/b.tsv", False), ("S3://b/c", True)]
)
def test_which_patterns_are_remote(pattern: str, remote: bool) -> None:
    assert is_remote(pattern) is remote


def test_copies_stay_below_their_folder(tmp_path: Path) -> None:
    assert place_of("bucket/logs/a.tsv", tmp_path) == tmp_path / "bucket/logs/a.tsv"
    assert place_of("/logs/a.tsv", tmp_path) == tmp_path / "logs/a.tsv"
    assert place_of("bucket/a..b.tsv", tmp_path) == tmp_path / "bucket/a..b.tsv"
    with pytest.raises(DataError, match=r"with '\.\.' in it"):
        place_of("bucket/../a.tsv", tmp_path)
