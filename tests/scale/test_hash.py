"""Hashing a table in pieces leaves the files that hashing it in one go leaves, by either engine, also after a stop."""

from pathlib import Path

import numpy as np
import pytest

from tests.teachers.harness import phrases, write_table
from tfb2d.config import LabelConfig, RayConfig
from tfb2d.data.tables import TableRows, read_table
from tfb2d.errors import DataError
from tfb2d.students import hashing
from tfb2d.students.hashing import PIECES, HashJob, hash_rows, hash_table
from tfb2d.students.rows import HashedRows

FIELDS = ("query", "title")
TARGETS = np.zeros((300, 1), np.float32)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {"query": phrases(300, 2, 3), "title": [*phrases(299, 1), ""]}
    return write_table(tmp_path_factory.mktemp("table"), columns, parts=3)


@pytest.fixture(scope="module")
def whole(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the table hashed in one go."""
    out = tmp_path_factory.mktemp("whole")
    texts = [column.to_numpy() for column in read_table(table, FIELDS).columns]
    hash_rows(texts, TARGETS, out, 4, (2, 3))
    return files(out)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PIECE_ROWS", 64)
    monkeypatch.setattr(hashing, "BATCH_ROWS", 10)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_pieces_are_joined_to_the_same_files(table: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    rows = hash_table(table, FIELDS, tmp_path, 4, (2, 3), progress=False)
    assert files(tmp_path) == whole
    assert rows.n == 300
    hashes, splits = HashedRows(tmp_path).flat(np.array([299]))[1]
    assert (len(hashes), splits.tolist()) == (0, [0, 0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / PIECES).mkdir()  # a kill left it behind the join
    (tmp_path / PIECES / "00000.npz").touch()
    hash_table(table, FIELDS, tmp_path, 4, (2, 3), progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_stopped_run_goes_on(table: Path, tmp_path: Path) -> None:
    """Pieces that are there are kept: those of other texts, which stand for a stopped run's, end up in the rows."""
    columns = {name: read_table(table, FIELDS)[name].to_pylist() for name in FIELDS}
    other = write_table(tmp_path / "other", {name: texts[::-1] for name, texts in columns.items()}, parts=3)
    pieces = tmp_path / "out" / PIECES
    pieces.mkdir(parents=True)
    parts = TableRows(other, FIELDS).part_rows
    work = HashJob(str(other), str(pieces), parts, FIELDS, 4, (2, 3), 64).start()
    for index in range(3):
        assert work(index) == 64
    hash_table(table, FIELDS, tmp_path / "out", 4, (2, 3), progress=False)
    mixed = [np.array([*texts[::-1][: 3 * 64], *texts[3 * 64 :]], object) for texts in columns.values()]
    hash_rows(mixed, TARGETS, tmp_path / "mixed", 4, (2, 3))
    assert files(tmp_path / "out") == files(tmp_path / "mixed")


def test_a_machine_without_the_folder_says_so(table: Path, tmp_path: Path) -> None:
    job = HashJob(str(table), str(tmp_path / "nowhere"), (100, 100, 100), FIELDS, 4, (), 64)
    with pytest.raises(DataError, match="nowhere is not the driver's folder"):
        job.start()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_ray_leaves_the_same_files(table: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    config = LabelConfig(engine="ray", ray=RayConfig(actors=2, cpus_per_actor=0.5))
    hash_table(table, FIELDS, tmp_path, 4, (2, 3), config, progress=False)
    assert files(tmp_path) == whole
