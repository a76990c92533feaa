"""Labelling by Ray's actors leaves the shards that the local engine leaves, byte for byte."""

import shutil
from pathlib import Path

import pytest

from tests import commands
from tests.scale.jobs import LOCAL, RAY, content
from tfb2d.config import Config, ConfigError, LabelConfig, RayConfig
from tfb2d.config.mapping import changed_settings
from tfb2d.data.tables import read_table
from tfb2d.recipes.quickstart import get_config
from tfb2d.teachers.label import label_folder


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_either_engine_goes_on_with_what_the_other_began(
    labelled: Path, saved: Path, source: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(labelled, tmp_path / "out")
    for gone in (1, 3, 9):  # actors leave holes
        (out / f"part-{gone:05d}.parquet").unlink()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    label_folder(saved, source, out, RAY, progress=False)
    assert content(out) == content(labelled)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    (out / "part-00002.parquet").unlink()
    label_folder(saved, source, out, LOCAL, progress=False)
    assert content(out) == content(labelled)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_the_command_labels_files_by_either_engine(saved: Path, source: Path, tmp_path: Path) -> None:
    pairs = read_table(source).to_pylist()
    rows = "".join(f"{i}\t{pair['query']}\t{pair['title']}\n" for i, pair in enumerate(pairs))
    (tmp_path / "log.tsv").write_text(f"id\tquery\ttitle\n{rows}ragged\n")
    words = [
        "label",
        f"--teacher={saved}",
        f"--input={tmp_path / 'log.tsv'}",
        "--rows_per_shard=100",
        "--price_per_hour=7",
    ]
    local = commands.run(*words, f"--output={tmp_path / 'local'}")
    ray = commands.run(*words, f"--output={tmp_path / 'ray'}", "--engine=ray", "--actors=2")
    for done in (local, ray):
        assert done.returncode == 0, done.stderr
        assert "600 rows labelled in" in done.stdout
        assert "1 row rejected" in done.stdout
        assert "rows/s, cost 0." in done.stderr
        assert "600/600" in done.stderr
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert read_table(tmp_path / "ray")["id"].to_pylist() == [str(i) for i in range(600)]


def test_where_labels_are_made_is_in_no_fingerprint() -> None:
    config = LabelConfig(engine="ray", ray=RayConfig("auto", 3, 2.0, 0.5, 4.0), price_per_hour=3.0)
    assert changed_settings(config) == {}
    settings = get_config()
    settings.label.engine, settings.label.ray.actors = "ray", 5
    assert Config.from_dict(settings).label == LabelConfig(
        settings.label.rows_per_shard, settings.label.batch_tokens, "ray", RayConfig(actors=5)
    )
    with pytest.raises(ConfigError, match="it takes local, ray"):
        LabelConfig(engine="spark")
