"""What the tests of search share: a small catalogue with its models and index, and the shop of the page's tests."""

from pathlib import Path

import pytest

from tests.commands import run as command
from tests.search import shop as small
from tests.search.shop import Models
from tests.search.trained_shop import TITLES, Shop, save_teacher, train_ranker
from tfb2d.search.indexing import build
from tfb2d.search.titles import Source


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Shop:
    """The shop, whose index was built by the command."""
    folder = tmp_path_factory.mktemp("shop")
    titles = folder / "titles.tsv"
    titles.write_text("id\ttitle\n" + "".join(f"p{at}\t{title}\n" for at, title in enumerate(TITLES)), encoding="utf-8")
    done = command("search", "build", f"--titles={titles}", f"--model={models.twin}", f"--index={folder / 'index'}")
    assert done.returncode == 0, done
    student, ranker = train_ranker(folder)
    return Shop(folder / "index", ranker, student)


@pytest.fixture(scope="session")
def shop_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny teacher; apart from the shop, since loading Keras takes seconds."""
    return save_teacher(tmp_path_factory.mktemp("shop_teacher"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Twins of hashed words, and a ranker of the same kind."""
    from tests.search.twins import export

    folder = tmp_path_factory.mktemp("models")
    return Models(
        export(folder / "twin"), export(folder / "twin_2", seed=2), export(folder / "ranker", version=3, kind="student")
    )


@pytest.fixture(scope="session")
def titles_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of titles with the ids t0, t1, ..."""
    titles = {f"t{place}": title for place, title in enumerate(small.TITLES)}
    return small.write_titles(tmp_path_factory.mktemp("catalogue") / "titles.tsv", titles)


@pytest.fixture
def index(models: Models, titles_file: Path, tmp_path: Path) -> Path:
    """An index of these titles, which the test may change."""
    source = Source([str(titles_file)])
    build(tmp_path / "index", source, str(models.twin), backend="hnsw", dtype="int8", progress=False)
    return tmp_path / "index"
