"""A small shop: its catalogue as a file, its models, an index; the fixtures that tests of search share."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tfb2d.search.building import build
from tfb2d.search.titles import Source

TITLES = [
    f"{brand} {thing} {detail}"
    for brand in ("acme", "bolt", "corvo")
    for thing in ("usb-c cable", "running shoes", "rain jacket", "led desk lamp", "iphone x case")
    for detail in ("red", "blue", "5 m", "4k", "size 40")
]


class Shop(NamedTuple):
    """Folders of what a search needs."""

    twin: Path
    other_twin: Path
    ranker: Path


def write_titles(path: Path, titles: dict[str, str]) -> Path:
    lines = ["id\ttitle", *(f"{key}\t{title}" for key, title in titles.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Shop:
    from tests.search.twins import export

    folder = tmp_path_factory.mktemp("shop")
    return Shop(
        export(folder / "twin"), export(folder / "twin_2", seed=2), export(folder / "ranker", seed=0, version=3)
    )


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> Path:
    titles = {f"t{place}": title for place, title in enumerate(TITLES)}
    return write_titles(tmp_path_factory.mktemp("catalogue") / "titles.tsv", titles)


@pytest.fixture
def index(shop: Shop, catalogue: Path, tmp_path: Path) -> Path:
    build(tmp_path / "index", Source([str(catalogue)]), str(shop.twin), backend="hnsw", dtype="int8", progress=False)
    return tmp_path / "index"
