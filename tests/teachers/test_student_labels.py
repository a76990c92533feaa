from pathlib import Path

import numpy as np
import pytest

import tfb2d
from tests.teachers.harness import write_table
from tfb2d.config import ConfigError
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import RunError
from tfb2d.model_folder import newest_version
from tfb2d.teachers.student_labels import label_by_students

ROOT = Path(__file__).parents[2]
STUDENT = newest_version(ROOT / "saved_models" / "quickstart")
TEXTS = [
    f"{start} {film}." for film in ("a warm and funny film", "a stale joke") for start in ("It is", "Hardly", "Not")
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_table(tmp_path / "source", {"text": TEXTS * 5}, parts=2)


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(("text",), "binary", tfb2d.load(STUDENT).classes)


def test_a_students_logits_are_its_own(source: Path, task: Task, tmp_path: Path) -> None:
    assert label_by_students([str(STUDENT)], task, source, tmp_path / "out", 8, progress=False) == 30
    table = read_table(tmp_path / "out")
    assert table["text"].to_pylist() == TEXTS * 5
    np.testing.assert_allclose(table["logit"].to_numpy(), np.tile(tfb2d.load(STUDENT).logits(TEXTS), 5), rtol=1e-5)


def test_several_students_give_their_mean(source: Path, task: Task, tmp_path: Path) -> None:
    for name, count in (("one", 1), ("two", 2)):
        label_by_students([str(STUDENT)] * count, task, source, tmp_path / name, 8, progress=False)
    assert read_table(tmp_path / "one").equals(read_table(tmp_path / "two"))


def test_it_goes_on_with_the_shards_that_are_missing(source: Path, task: Task, tmp_path: Path) -> None:
    out = tmp_path / "out"
    label_by_students([str(STUDENT)], task, source, out, 8, progress=False)
    parts = sorted(out.glob("part-*"))
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in parts}
    assert len(parts) == 4
    parts[2].unlink()
    label_by_students([str(STUDENT)], task, source, out, 8, progress=False)
    assert {path.name: path.read_bytes() for path in parts} == {name: old for name, (old, _) in before.items()}
    assert [path.stat().st_mtime_ns == before[path.name][1] for path in parts] == [True, True, False, True]
    with pytest.raises(RunError, match="another labelling"):
        label_by_students([str(STUDENT)] * 2, task, source, out, 8, progress=False)


def test_what_is_no_student_of_the_task_is_refused(source: Path, task: Task, tmp_path: Path) -> None:
    for model, other, message in (
        (STUDENT, Task(("text",), "graded", label_range=(1.0, 5.0)), "another task"),
        (STUDENT.parent, task, f"name a version, such as .*{STUDENT.name}"),
        (tmp_path / "none", task, "no exported student"),
    ):
        with pytest.raises(ConfigError, match=message):
            label_by_students([str(model)], other, source, tmp_path / "out", 8, progress=False)
    assert not (tmp_path / "out").exists()
