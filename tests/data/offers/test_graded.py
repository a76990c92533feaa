import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tfb2d.config import DataConfig, OffersConfig, RetrieveConfig
from tfb2d.data.keys import near_key
from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.graded_pairs import GRADES, RELATIONS, GradedPairs, ProductRelations
from tfb2d.data.offers.queries import MEANT, query_for
from tfb2d.data.prepare import prepare
from tfb2d.data.tables import read_table

PRODUCTS = [
    Product("Bosch KGN36NW30G White", ("bosch kgn36nw30g fridge",), "Fridges"),
    Product("Bosch KGN36VL35G", ("bosch kgn36vl35g",), "Fridges"),
    Product("Bosch GSN33", ("bosch gsn33",), "Fridges"),
    Product("Neff KI7853", ("neff ki7853",), "Fridges"),
    Product("Bosch WAN28 White", ("bosch wan28",), "Washing Machines"),
    Product("Apple iPhone 8 Plus 64GB", ("iphone 8",), "Mobile Phones"),
    Product("Apple iPhone 8 256GB", ("iphone 8 256gb",), "Mobile Phones"),
    Product("Apple iPhone 7", ("iphone 7",), "Mobile Phones"),
]


def test_relations() -> None:
    product_relations = ProductRelations(PRODUCTS)
    assert product_relations.families[:3] == ["kgn3", "kgn3", "gsn3"]
    assert product_relations.families[5:] == ["iphone 8", "iphone 8", "iphone 7"]
    every = np.arange(len(PRODUCTS))
    assert [RELATIONS[level] for level in product_relations.relation(0, every)] == [
        "product",
        "family",
        "brand",
        "category",
        *["other"] * 4,
    ]
    assert [RELATIONS[level] for level in product_relations.relation(5, every[5:])] == ["product", "family", "brand"]


def test_queries() -> None:
    made = {
        meant: {query_for(PRODUCTS[0].name, "bosch", "kgn3", "Fridges", meant, random.Random(i)) for i in range(200)}
        for meant in MEANT
    }
    assert any("kgn36nw30g" in query for query in made["product"])
    assert not any("kgn36nw" in query for query in made["family"] | made["brand"])
    assert any("refrigerator" in query for query in made["brand"])
    starts = Counter(query.split()[0] == "bosch" for query in made["product"])
    assert starts[True] > 10
    assert starts[False] > 10
    units = {query_for("Apple iPhone 8 64GB", "apple", "iphone 8", "", "product", random.Random(i)) for i in range(60)}
    assert any("64gb" in query for query in units)
    assert any("64 gb" in query for query in units)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Prepares graded pairs of 300 made-up products."""
    folder = tmp_path_factory.mktemp("graded")
    draw = random.Random(0)
    rows = ["product_title,cluster_id,cluster_label,category_label"]
    for number in range(300):
        brand, kind = draw.choice(("bosch", "aeg", "neff")), draw.choice(("Fridges", "TVs"))
        code = draw.choice(("kgn", "ab1", "zx2")) + str(draw.randrange(10**5))
        rows += [f"{brand} {code} offer {draw.randrange(999)},{number},{brand} {code} white,{kind}"] * 2
    (folder / "offers.csv").write_text("\n".join(rows) + "\n")
    offers = OffersConfig(
        files=(str(folder / "offers.csv"),), graded=True, labelled=200, queries=30, candidates=6, transfer_queries=40
    )
    retrieve = RetrieveConfig(nearest=3, near_misses=1, random=1, title_queries=0)
    data = DataConfig(
        fields=("query", "title"),
        label_range=(1, 4),
        valid_fraction=0.2,
        test_fraction=0.2,
        offers=offers,
        retrieve=retrieve,
    )
    return folder / "out", prepare(data, folder / "out", progress=False)


def test_graded_splits(made: tuple[Path, dict]) -> None:
    folder, stats = made
    keys: dict[str, set[str]] = {}
    for name in ("test", "valid", "train", "transfer"):
        table = read_table(folder / name)
        keys[name] = {near_key(query) for query in table["query"].to_pylist()}
        if name != "transfer":
            assert {round(3 * grade + 1) for grade in table["label"].to_pylist()} == {1, 2, 3, 4}
    assert not keys["test"] & (keys["valid"] | keys["transfer"])
    assert not keys["valid"] & keys["transfer"]
    assert keys["train"] < keys["transfer"]
    assert stats["test"] == stats["valid"] == 180
    assert 150 < stats["train"] <= 200
    assert 100 < stats["made_pairs"]["pairs"] <= 200
    assert stats["made_pairs"]["queries"] == 40
    assert sum(stats["offers"]["held_out_queries"].values()) == 60


def test_grades_follow_relations_but_for_confusions() -> None:
    data = DataConfig(fields=("query", "title"), label_range=(1, 4), offers=OffersConfig(files=("-",), graded=True))
    pairs = GradedPairs(data, PRODUCTS, "train", set())
    owner = {product.titles[0]: index for index, product in enumerate(PRODUCTS)}
    meant = {query: (product, meant) for product, meant, query in pairs.queries(200)}
    far = []
    for query, title, grade in pairs.all_candidates(200, 6):
        product, means = meant[query]
        expected = GRADES[means][pairs.relations.relation(product, np.array([owner[title]]))[0]]
        far.append(abs(grade - expected))
    assert set(far) == {0, 1}
    assert 0.08 < np.mean(far) < 0.2
