"""What may go wrong while shards are labelled, by either engine: a clear error, and nothing is lost or doubled."""

import dataclasses
import os
import platform
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.killing import ROOT, python
from tests.scale.jobs import LOCAL, RAY, content
from tests.teachers.harness import PAIR, save_encoder, write_table
from tfb2d.config import LabelConfig, TeacherConfig
from tfb2d.data.tables import TableRows, read_table
from tfb2d.errors import DataError, RunBusyError, RunError
from tfb2d.runs import locked
from tfb2d.scale.ray_actors import Worker
from tfb2d.teachers.files import label_files
from tfb2d.teachers.label import label_folder
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.shard_labeller import LabelJob, made_by
from tfb2d.teachers.shards import MANIFEST, without_logit
from tfb2d.teachers.teacher import Teacher


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def config(request: pytest.FixtureRequest) -> LabelConfig:
    """Returns the settings for either engine."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return {"local": LOCAL, "ray": RAY}[request.param]


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a teacher that gives NaN to texts with the word "poor"."""
    folder = tmp_path_factory.mktemp("overflowing")
    config = TeacherConfig(preset=str(save_encoder("bert", folder / "encoder")), max_length=32)
    teacher = Teacher(build_classifier(config, 1), PAIR, 32)
    table = teacher.model.backbone.token_embedding.embeddings
    weights = keras.ops.convert_to_numpy(table).copy()
    weights[teacher.preprocessor.tokenizer.token_to_id("poor")] = np.nan
    table.assign(weights)
    teacher.save(folder / "teacher", {"preset": "tiny", "outcome": {}})
    return folder / "teacher"


@pytest.fixture(scope="module")
def few_poor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    titles = ["poor film" if i in (70, 71, 199) else f"good {'red ' * (i % 3)}shoe" for i in range(200)]
    return write_table(tmp_path_factory.mktemp("few") / "rows", {"query": ["shoe"] * 200, "title": titles})


def test_a_row_without_a_finite_logit_stays_and_is_counted(
    config: LabelConfig, overflowing: Path, few_poor: Path, tmp_path: Path
) -> None:
    assert label_folder(overflowing, few_poor, tmp_path, config, False, max_without=0.02) == 3
    table = read_table(tmp_path)
    assert table.select(["query", "title"]).equals(read_table(few_poor, ["query", "title"]))
    assert np.flatnonzero(np.isnan(table["logit"].to_numpy())).tolist() == [70, 71, 199]
    assert [without_logit(path) for path in sorted(tmp_path.glob("part-*"))] == [0, 2, 0, 1]
    (tmp_path / "part-00002.parquet").unlink()
    assert label_folder(overflowing, few_poor, tmp_path, config, False, max_without=0.02) == 3  # finished shards count
    with pytest.raises(DataError, match="no finite number for 3 of 200 rows"):
        label_folder(overflowing, few_poor, tmp_path, config, False)


def test_a_teacher_that_is_broken_throughout_is_named(overflowing: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "rows", {"query": ["the poor film"] * 9, "title": ["hat"] * 9})
    with pytest.raises(DataError, match=r"for any row of shard 0, the first: query='the poor film', title='hat'"):
        label_folder(overflowing, tmp_path / "rows", tmp_path / "out", LOCAL, False, max_without=1.0)
    assert not list((tmp_path / "out").glob("part-*"))


def test_a_damaged_part_is_named(
    config: LabelConfig, saved: Path, source: Path, labelled: Path, tmp_path: Path
) -> None:
    rows = shutil.copytree(source, tmp_path / "rows")
    whole = (rows / "part-00002.parquet").read_bytes()
    (rows / "part-00002.parquet").write_bytes(whole[:4] + bytes(1000) + whole[1004:])
    with pytest.raises(DataError, match=r"rows/part-00002\.parquet: not a whole Parquet file"):
        label_folder(saved, rows, tmp_path / "out", config, False, [labelled])
    assert (tmp_path / "out" / "part-00000.parquet").exists()
    (rows / "part-00002.parquet").write_bytes(whole)
    label_folder(saved, rows, tmp_path / "out", config, False, [labelled])
    assert content(tmp_path / "out") == content(labelled)
    (rows / "part-00001.parquet").write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"rows/part-00001\.parquet: not a whole Parquet file"):
        label_folder(saved, rows, tmp_path / "out", config, False, [labelled])


def test_another_labellings_shards_are_kept(labelled: Path, saved: Path, source: Path, tmp_path: Path) -> None:
    out = shutil.copytree(labelled, tmp_path / "out")
    before = content(out)
    (out / "part-00009.parquet").unlink()
    with pytest.raises(RunError, match="rows_per_shard differ"):
        label_folder(saved, source, out, dataclasses.replace(LOCAL, rows_per_shard=32), False)
    table = read_table(source)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    write_table(tmp_path / "more", {name: [*values, "hat"] for name, values in columns.items()})
    with pytest.raises(RunError, match=r"\(rows differ\)"):
        label_folder(saved, tmp_path / "more", out, LOCAL, False)
    write_table(tmp_path / "others", {name: values[::-1] for name, values in columns.items()})
    with pytest.raises(RunError, match=r"part-00000\.parquet holds other rows"):
        label_folder(saved, tmp_path / "others", out, LOCAL, False)
    (out / MANIFEST).unlink()  # shards of an earlier version
    other = shutil.copytree(saved, tmp_path / "teacher")
    about = (other / "teacher.json").read_text()
    (other / "teacher.json").write_text(about.replace(read_about(saved)["weights"], "of another"))
    with pytest.raises(RunError, match="made_by differ"):
        label_folder(other, source, out, LOCAL, False)
    assert {**content(out), "part-00009.parquet": before["part-00009.parquet"]} == before


def test_two_drivers_do_not_share_an_output(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("query\ttitle\nred\tshoe\n")
    out = tmp_path / "out"
    with (
        locked(out, tmp_path / ".out.lock"),
        pytest.raises(RunBusyError, match="out: another process is at work in this folder"),
    ):
        label_files(saved, [str(tmp_path / "log.tsv")], out, LOCAL, progress=False)
    assert not out.exists()


FULL = """
import resource
from pathlib import Path
from tfb2d.config import LabelConfig
from tfb2d.teachers.label import label_folder
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
label_folder(Path({saved!r}), Path({source!r}), Path({out!r}), LabelConfig(64, 256), False, [Path({known!r})])
"""


def test_a_full_disk_leaves_whole_shards(labelled: Path, saved: Path, source: Path, tmp_path: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in labelled.glob("part-*")}
    largest = max(sizes, key=sizes.__getitem__)
    paths = {"saved": str(saved), "source": str(source), "out": str(tmp_path), "known": str(labelled)}
    code = FULL.format(room=sizes[largest] - 1, **paths)  # texts are known: no teacher is loaded
    done = subprocess.run(
        python(code), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert largest not in {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.glob(".*.tmp"))
    label_folder(saved, source, tmp_path, LOCAL, False, [labelled])
    assert read_table(tmp_path).equals(read_table(labelled))


def test_clocks_may_disagree(labelled: Path, saved: Path, source: Path, tmp_path: Path) -> None:
    out = shutil.copytree(labelled, tmp_path / "out")
    for path, moment in zip(sorted(out.glob("part-*")), (0, 2**33) * 5, strict=True):
        os.utime(path, (moment, moment))
    (out / "part-00004.parquet").unlink()
    label_folder(saved, source, out, LOCAL, False, [labelled])
    assert content(out) == content(labelled)


def test_a_machine_without_the_drivers_folders_says_so(
    labelled: Path, saved: Path, source: Path, tmp_path: Path
) -> None:
    rows = TableRows(source, PAIR.fields)
    good = LabelJob(
        str(saved),
        str(source),
        rows.part_rows,
        PAIR.fields,
        PAIR.fields,
        str(shutil.copytree(labelled, tmp_path / "out")),
        64,
        256,
        made_by(saved, PAIR.fields),
        (str(labelled),),
    )
    assert Worker(good).do(9) == ((24, 0), "")
    for changes, message in [
        ({"teacher": "/nowhere/bert"}, "/nowhere/bert has no teacher.json"),
        ({"made_by": "another"}, f"{saved} is not the driver's teacher"),
        (
            {"out": str(tmp_path)},
            f"{tmp_path} is not the driver's folder; all machines must share the output's storage",
        ),
        ({"source": str(tmp_path)}, "no part-*.parquet"),
        ({"part_rows": (600,)}, "has 3 parts in place of 1"),
    ]:
        result, wrong = Worker(dataclasses.replace(good, **changes)).do(9)
        assert result is None
        assert message in wrong
        assert wrong.endswith(f"(on {platform.node()})")


def test_an_actor_that_writes_elsewhere_is_noticed(
    labelled: Path, saved: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(job: LabelJob, pieces: list[int], _: object) -> object:
        other = dataclasses.replace(job, out=str(shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")))
        return ((piece, other.start()(piece)) for piece in pieces)

    monkeypatch.setattr("tfb2d.scale.ray_actors.run_on_actors", elsewhere)
    with pytest.raises(DataError, match="lacks shard 0, which an actor wrote; all machines must share the folder"):
        label_folder(saved, source, tmp_path / "out", RAY, False, [labelled])
