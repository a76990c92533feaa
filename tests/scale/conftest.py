"""The tiny teacher of the teachers' tests, a table, and Ray on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.jobs import LOCAL
from tests.teachers.fixtures import encoder as encoder
from tests.teachers.fixtures import saved as saved
from tests.teachers.fixtures import teacher as teacher
from tests.teachers.harness import phrases, write_table
from tfb2d.config import RayConfig
from tfb2d.scale.ray_cluster import connected
from tfb2d.teachers.label import label_folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # No pair stands there twice: a pair that has a logit keeps it, and elsewhere its last bits may differ.
    titles = [f"{title} {row}" for row, title in enumerate(phrases(600, 1))]
    columns = {"query": phrases(600, 2, 3), "title": titles}
    return write_table(tmp_path_factory.mktemp("source"), columns, parts=3)


@pytest.fixture(scope="session")
def labelled(saved: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled") / "local"
    label_folder(saved, source, out, LOCAL, progress=False)
    return out


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Ray on this machine, for a module's tests."""
    pytest.importorskip("ray", reason="Ray is large, so the extra of the tests does without; pip install '.[ray]'")
    with connected(RayConfig(actors=2)):
        yield
