"""How fast a teacher labels, measured on a tiny one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.teachers.harness import SINGLE, save_encoder
from tfb2d.bench.measure import BenchError, named_folders
from tfb2d.bench.teacher import forward_flops, measure
from tfb2d.config import TeacherConfig
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.teacher import Teacher


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Teacher]:
    folder = tmp_path_factory.mktemp("encoders")

    def build(family: str) -> Teacher:
        config = TeacherConfig(preset=str(save_encoder(family, folder / family)), max_length=16)
        return Teacher(build_classifier(config, 1), SINGLE, 16)

    return build


def test_products_are_counted(tiny: Callable[[str], Teacher]) -> None:
    """Two layers, 32 wide, 64 inside: query, key, value, output, and twice 32 x 64; then scores and their sums."""
    model, lengths = tiny("bert").model, np.array([3, 5])
    dense, attention = 2 * (4 * 32 * 32 + 2 * 32 * 64), 4 * 32
    layer = 8 * dense + (9 + 25) * attention
    assert forward_flops(model, lengths, first_only=False) == 2 * layer
    keys = 2 * 2 * 32 * 32
    last = 8 * keys + 2 * (dense - keys) + 8 * attention
    assert forward_flops(model, lengths, first_only=True) == layer + last
    assert forward_flops(tiny("albert").model, lengths, first_only=False) is None


@pytest.mark.slow  # a process with TensorFlow
def test_a_teacher_is_measured(tmp_path: Path, tiny: Callable[[str], Teacher]) -> None:
    teacher = tiny("bert")
    assert measure(teacher, [["red shoe"] * 8], 64, 1, 1e9)["mfu_cpu"] is None  # a given peak is no CPU's
    teacher.save(tmp_path / "tiny", {"preset": "tiny", "outcome": {}})
    (tmp_path / "films.tsv").write_text("text\tlabel\n" + "".join(f"{'film ' * (i % 9)}good\t1\n" for i in range(40)))
    out, command = tmp_path / "out", [sys.executable, "-m", "tfb2d.bench", "--teacher"]
    settings = ["--rows=100", "--rounds=1", "--batch_tokens=64", f"--data={tmp_path / 'films.tsv'}", f"--output={out}"]
    models = [f"--model={tmp_path / 'tiny'}", f"--model=again={tmp_path / 'tiny'}"]
    done = subprocess.run([*command, *settings, *models], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = json.loads((out / "teacher.json").read_text())
    assert [first["model"], second["model"], first["task"]] == ["tiny", "again", "films"]
    assert first["rows"] == 100
    assert 0 < first["padded"] < 0.4
    assert 0 < first["tokenizing"] < 1
    assert 0 < first["mfu"] < 1.1
    assert 0 < first["mfu_cpu"] < 1.1
    assert first["tokens_per_s"] / first["rows_per_s"] == pytest.approx(first["tokens"] / 100)
    assert first["skips_padding"]
    assert (out / "teacher.txt").read_text().strip() in done.stdout


def test_two_teachers_of_one_name_are_refused() -> None:
    with pytest.raises(BenchError, match="another is called tiny; write --model=NAME=b/tiny"):
        named_folders(["a/tiny", "b/tiny"])
