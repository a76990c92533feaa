"""The data stage under SIGKILL, without disk space, and on far more text than it may hold."""

import gzip
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data.harness import content, logged_texts, phrase, write
from tfb2d.data.prepare import prepare

PROGRAM = """
import resource, sys
from pathlib import Path
from tests.data.harness import logged_texts, peak_memory
from tfb2d.data.prepare import prepare

folder, most = Path(sys.argv[1]), int(sys.argv[2])
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
before = peak_memory()
print("go", flush=True)
prepare(logged_texts(folder), folder / "out", progress=False)
print(peak_memory() - before)
"""


def start(folder: Path, most: int = 0) -> subprocess.Popen:
    """Starts a process that prepares `folder`, with files of at most `most` bytes; it is about to begin."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(most)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


@pytest.fixture
def folder(tmp_path) -> Path:
    draw = random.Random(0)
    write(tmp_path / "a.tsv", ("text", "label"), [(phrase(draw, 10), i % 2) for i in range(2000)])
    write(tmp_path / "log.tsv", ("text",), [(phrase(draw, 10),) for _ in range(5000)])
    return tmp_path


def test_killed_at_any_moment(folder):
    out = folder / "out"
    begin = time.monotonic()
    prepare(logged_texts(folder), out, progress=False)
    took = time.monotonic() - begin
    new = content(out)
    prepare(logged_texts(folder, seed=1), out, progress=False)
    old = content(out)
    assert new != old
    draw = random.Random(0)
    for _ in range(5):
        process = start(folder)
        time.sleep(draw.random() * took)
        process.kill()
        process.communicate()
        left = {name: data for name, data in content(out).items() if not name.startswith(".")}
        assert left in (old, new) or "stats.json" not in left
    prepare(logged_texts(folder), out, progress=False)
    assert content(out) == new


def test_a_full_disk_leaves_the_last_good_state(folder):
    prepare(logged_texts(folder, seed=1), folder / "out", progress=False)
    before = content(folder / "out")
    process = start(folder, most=50_000)
    _, error = process.communicate()
    assert process.returncode == 1
    assert "OSError" in error
    assert content(folder / "out") == before


def test_memory_does_not_grow_with_the_text(tmp_path):
    draw = random.Random(0)
    write(tmp_path / "a.tsv", ("text", "label"), [(phrase(draw, 10), i % 2) for i in range(200)])
    long = [phrase(draw, 900) for _ in range(100)]
    lines = "".join(f"{i} {long[i % 100]}\n" for i in range(25_000))
    assert len(lines) > 150_000_000
    (tmp_path / "log.tsv.gz").write_bytes(gzip.compress(f"text\n{lines}".encode(), 1))
    kilobytes, error = start(tmp_path).communicate()
    assert int(kilobytes) < 125_000, error
