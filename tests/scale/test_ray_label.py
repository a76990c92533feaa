"""Labelling by Ray's actors leaves the shards that the local engine leaves, byte for byte."""

import shutil
from pathlib import Path

import pytest

from tests.scale.jobs import LOCAL, RAY, content
from tfb2d.teachers.label import label_folder


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
