import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from tfb2d.config import Config, ConfigError, DataConfig, OffersConfig, TeacherConfig
from tfb2d.config.mapping import changed_settings
from tfb2d.data.keys import near_key
from tfb2d.data.offers.catalogue import Titles, cut, read_products
from tfb2d.data.prepare import prepare
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError
from tfb2d.outcomes import DataOutcome
from tfb2d.pipeline import run
from tfb2d.runs import Run

BRANDS, KINDS, COLOURS = ("bosch", "aeg", "beko", "neff"), ("fridge", "washer", "oven"), ("white", "black", "silver")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Writes a catalogue of 240 products with one to three offers each."""
    folder = tmp_path_factory.mktemp("catalogue")
    draw = random.Random(0)
    rows, titles = ["product_title,cluster_id,cluster_label,category_label"], []
    for number in range(240):
        brand, kind, colour = draw.choice(BRANDS), draw.choice(KINDS), draw.choice(COLOURS)
        code = "".join(draw.choices("abcdefgh", k=3)) + str(draw.randrange(10**5))
        for offer in range(draw.randint(1, 3)):
            words = ["free standing", "a+++", "energy saving"][offer]
            rows.append(
                f"{brand} {code} {kind} {colour} {words},{number},{brand.title()} {code.upper()} {colour},{kind}"
            )
            titles.append(f"shop\t{brand} {code} {colour} {kind} {words}")
    rows += ["fridge,0,ignored,fridge", "fridge,1,ignored,fridge", ",2,x,y"]  # ambiguous, ambiguous, empty
    titles += [f"shop\tsony tv{i} {draw.randrange(99)} inch" for i in range(60)]
    (folder / "offers.csv").write_text("\n".join(rows) + "\n")
    (folder / "titles.tsv").write_text("\n".join(titles) + "\n")
    offers = OffersConfig(
        files=(str(folder / "offers.csv"),),
        titles=(str(folder / "titles.tsv"),),
        titles_column="",
        labelled=300,
        queries=25,
        candidates=8,
        transfer=1000,
    )
    return DataConfig(fields=("query", "title"), valid_fraction=0.15, test_fraction=0.2, offers=offers)


@pytest.fixture(scope="module")
def made(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("made")
    return out, prepare(data, out, progress=False)


def rows(folder: Path, name: str) -> list[tuple[str, str, float]]:
    table = read_table(folder / name)
    return list(zip(*(table[column].to_pylist() for column in ("query", "title", "label")), strict=True))


def test_held_out_queries_and_titles_are_new(made: tuple[Path, dict]) -> None:
    folder, _ = made
    held = Titles()
    queries = set()
    for name in ("test", "valid"):
        held.add(title for _, title, _ in rows(folder, name))
        queries |= {near_key(query) for query, _, _ in rows(folder, name)}
    for query, title, _ in rows(folder, "transfer"):
        assert near_key(query) not in queries
        assert not held.has(title)
    test = {title for _, title, _ in rows(folder, "test")}
    assert not test & {title for _, title, _ in rows(folder, "valid")}


def test_candidates_and_labels(made: tuple[Path, dict], data: DataConfig) -> None:
    folder, stats = made
    counts: Counter[str] = Counter()
    owner = {title: product for product in read_products(data, counts, Rejects(None, 1)) for title in product.titles}
    assert "fridge" not in owner
    for name in ("test", "valid"):
        by_query: dict[str, list] = {}
        for query, title, label in rows(folder, name):
            by_query.setdefault(query, []).append((title, label))
        assert len(by_query) == stats["offers"][f"{name}_queries"] == 25
        for candidates in by_query.values():
            assert len({title for title, _ in candidates}) == len(candidates) == 8
            right = {owner[title].name for title, label in candidates if label}
            assert len(right) == 1
            assert all(owner[title].name not in right for title, label in candidates if not label)
    train = rows(folder, "train")
    assert 250 < len(train) <= 310
    assert 0.2 < sum(label for _, _, label in train) / len(train) < 0.5
    assert stats["unlabelled"] > 800


def test_wrong_answers_are_hard(made: tuple[Path, dict]) -> None:
    train = rows(made[0], "train")
    shared = [bool(set(query.split()) & set(title.split())) for query, title, label in train if not label]
    assert sum(shared) / len(shared) > 0.7


def test_counts(made: tuple[Path, dict]) -> None:
    stats = made[1]["offers"]
    assert stats["ambiguous_titles"] == 1
    assert stats["unreadable"] == 1
    assert stats["clusters"] == 240
    assert stats["transfer_titles_near_held_out"] > 50  # the titles' file has the test products' too
    assert sum(stats["held_out_queries"].values()) == 50


def test_the_same_bytes_again(data: DataConfig, made: tuple[Path, dict], tmp_path: Path) -> None:
    prepare(data, tmp_path, progress=False)
    for part in sorted(made[0].rglob("*.parquet")):
        other = tmp_path / part.relative_to(made[0])
        assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


def test_titles_that_are_nearly_held_out() -> None:
    held = Titles()
    held.add(["sony xperia z5 compact 32gb black sim free"])
    assert held.has("Sony Xperia Z5 32GB compact black, SIM free!")
    assert held.has("new sony xperia z5 compact 32gb black sim free")
    assert not held.has("sony xperia z5 compact 64gb black sim free")
    assert not held.has("z5 32gb case")


def test_clusters_of_one_name_are_one_product(tmp_path: Path) -> None:
    path = tmp_path / "offers.tsv"
    path.write_text(
        "product_title\tcluster_id\tcluster_label\n"
        "red shoe 5\t1\tShoe Red\nred shoe 6\t2\tred shoe\nred shoe 7\t2\tsomething\nblue hat\t3\tHat\n"
    )
    counts: Counter[str] = Counter()
    data = DataConfig(fields=("query", "title"), offers=OffersConfig(files=(str(path),)))
    products = read_products(data, counts, Rejects(None, 1))
    assert [(product.name, len(product.titles), product.category) for product in products] == [
        ("Shoe Red", 3, ""),
        ("Hat", 1, ""),
    ]
    assert sum(map(len, cut(products, data, counts).values())) == 2
    with pytest.raises(DataError, match="no product for the"):
        prepare(data, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DataConfig(offers=OffersConfig(files=("a",))), "makes \\(query, title\\) pairs"),
        (lambda: OffersConfig(titles=("a",)), "goes with"),
        (lambda: OffersConfig(candidates=1), "2 or more"),
        (lambda: OffersConfig(labelled=0), "above 0"),
        (
            lambda: DataConfig(fields=("q", "t"), label_range=(1, 3), offers=OffersConfig(files=("a",))),
            "makes labels 0 and 1",
        ),
        (
            lambda: DataConfig(fields=("q", "t"), label_range=(1, 3), offers=OffersConfig(files=("a",), graded=True)),
            r"grades 1 to 4; .*\(1, 4\)",
        ),
    ],
)
def test_settings_that_cannot_work(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_a_run_takes_a_catalogue_in_place_of_labelled_rows(data: DataConfig, tmp_path: Path) -> None:
    config = Config(data=data, teachers={"one": TeacherConfig(preset="p")})
    assert Config.from_dict(config.to_dict()) == config
    outcome = run(Run(tmp_path, progress=False), config, until="data")
    assert isinstance(outcome, DataOutcome)
    assert outcome.details["offers"]["products"] == 240
    assert "offers" in changed_settings(data)
    assert changed_settings(DataConfig()) == {}
