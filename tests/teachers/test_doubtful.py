import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.killing import python, run_and_kill
from tests.teachers.harness import phrases, write_table
from tfb2d.config import Config, ConfigError, DataConfig, LabelConfig, TeacherConfig
from tfb2d.data.tables import read_table
from tfb2d.outcomes import LogitsOutcome
from tfb2d.resume import bring_up
from tfb2d.runs import Run
from tfb2d.teachers.doubtful import DOUBTFUL, label_doubtful, least_sure
from tfb2d.teachers.stage import label
from tfb2d.teachers.teacher import Teacher

CONFIG = LabelConfig(rows_per_shard=32, batch_tokens=256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {"query": phrases(200, 2, 3), "title": phrases(200, 1)}
    return write_table(tmp_path_factory.mktemp("source"), columns, parts=3)


@pytest.fixture(scope="module")
def before(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cheap teacher's logits; it is least sure of rows 50 to 99, and has none of row 120."""
    logits = np.where((np.arange(200) >= 50) & (np.arange(200) < 100), 0.1, 3.0) * np.where(np.arange(200) % 2, 1, -1)
    logits[120] = np.nan
    table = read_table(source)
    folder = tmp_path_factory.mktemp("before")
    pq.write_table(table.append_column("logit", [logits.astype(np.float32)]), folder / "part-00000.parquet")
    return folder


DOUBTS = [*range(50, 99), 120]  # a quarter of the rows


def test_least_sure_rows_of_one_and_of_several_logits() -> None:
    assert least_sure(np.array([[3.0], [-0.5], [np.nan], [1.0]]), 0.5).tolist() == [1, 2]
    assert least_sure(np.array([[1.0, 5.0, 4.9], [0.0, 9.0, 1.0], [2.0, 2.2, -9.0]]), 0.6).tolist() == [0, 2]
    assert least_sure(np.array([[1.0], [2.0]]), 0.01).tolist() == [0]


def test_the_teacher_labels_what_others_doubt(
    saved: Path, teacher: Teacher, source: Path, before: Path, tmp_path: Path
) -> None:
    assert label_doubtful(saved, source, [before], 0.25, tmp_path, CONFIG, progress=False) == (50, 0)
    table, given = read_table(tmp_path), read_table(source)
    assert table.select(["query", "title"]).equals(given)
    logits = table["logit"].to_numpy()
    assert np.flatnonzero(np.isfinite(logits)).tolist() == DOUBTS
    expected = teacher.logits([given["query"].to_pylist(), given["title"].to_pylist()])[:, 0]
    np.testing.assert_allclose(logits[DOUBTS], expected[DOUBTS], atol=1e-5)


LABEL = """
import itertools
from pathlib import Path
from tfb2d.config import LabelConfig
from tfb2d.teachers.doubtful import label_doubtful
config = LabelConfig(rows_per_shard=2, batch_tokens=64)
label_doubtful(Path({saved!r}), Path({source!r}), [Path({before!r})], 0.25, Path({out!r}), config, progress=False)
"""


def test_killed_it_ends_with_the_same_bytes(saved: Path, source: Path, before: Path, tmp_path: Path) -> None:
    small = LabelConfig(rows_per_shard=2, batch_tokens=64)
    label_doubtful(saved, source, [before], 0.25, tmp_path / "whole", small, progress=False)
    out = tmp_path / "killed"
    code = LABEL.format(saved=str(saved), source=str(source), before=str(before), out=str(out))
    run_and_kill(python(code), lambda: (out / DOUBTFUL / "part-00003.parquet").exists())
    label_doubtful(saved, source, [before], 0.25, out, small, progress=False)
    parts = [path.relative_to(out) for path in sorted(out.rglob("part-*"))]
    assert len(parts) == 125
    assert all((out / part).read_bytes() == (tmp_path / "whole" / part).read_bytes() for part in parts)


def test_a_changed_share_keeps_what_was_labelled(saved: Path, source: Path, before: Path, tmp_path: Path) -> None:
    """The stage, with three shares after each other: rows that were labelled keep the logits' very bits."""
    run = Run(tmp_path, progress=False)
    for split in ("transfer", "valid", "test"):
        write_table(run.split(split), read_table(source).slice(0, 200 if split == "transfer" else 5).to_pydict())
        for path in before.iterdir():
            target = run.logits("cheap", split) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    run.teacher("slow").parent.mkdir(parents=True)
    run.teacher("slow").symlink_to(saved)
    seen = []
    for share in (0.25, 0.5, 0.0):
        config = Config(
            data=DataConfig(fields=("query", "title")),
            teachers={"cheap": TeacherConfig(preset="-"), "slow": TeacherConfig(preset="-", doubtful=share)},
            label=CONFIG,
        )
        bring_up(
            run.folder / "logits" / "slow",
            str(share),
            lambda _, config=config: label(run, config, "slow"),
            LogitsOutcome,
        )
        seen.append(read_table(run.logits("slow"))["logit"].to_numpy())
    assert [int(np.isfinite(logits).sum()) for logits in seen] == [50, 100, 200]
    for fewer, more in itertools.pairwise(seen):
        both = np.isfinite(fewer)
        np.testing.assert_array_equal(fewer[both], more[both])


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(ConfigError, match="not with the first teacher"):
        Config(teachers={"slow": TeacherConfig(preset="-", doubtful=0.5)})
    with pytest.raises(ConfigError, match="scores are there already, and students label all"):
        TeacherConfig(logits=("scores.tsv",), doubtful=0.5)
    with pytest.raises(ConfigError, match="a share, from 0 to below 1"):
        TeacherConfig(preset="-", doubtful=1.0)
