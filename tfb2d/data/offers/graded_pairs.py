"""Makes graded pairs of a split's products, as people would grade them: 1 to 4, with their confusions."""

import random
import re
from collections.abc import Sequence

import numpy as np

from tfb2d.config import DataConfig
from tfb2d.data.keys import near_key
from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.labelled_pairs import Pair, SplitPairs, distinct_queries
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.queries import MEANT, is_code, query_for

LOWEST, HIGHEST = 1, 4
RELATIONS = ("product", "family", "brand", "category", "other")  # of two products, the nearest first
GRADES = {  # by what a query means: the grade of a title by its relation to the query's product, in RELATIONS' order
    "product": (4, 3, 2, 1, 1),
    "family": (4, 4, 3, 2, 1),
    "brand": (4, 4, 4, 2, 1),
}
CONFUSED = 0.15  # share of the grades that the judge moves to a neighbour
NEAR = 12  # titles that share most words with a query, from which candidates are taken
CODE = 4  # first characters of a model code that name its family
_SIZE = re.compile(r"\d+(?:\.\d+)?(?:gb|tb|mb|ghz|mhz|mm|cm|kg|w|l|inch)?")
_NAMING = 2  # words of a model without a code that name its family


class ProductRelations:
    """Relates the products of a catalogue.

    A product's brand is the first word of its name. Its family is the first characters of the model code after the brand
    (`bosch kgn3` of `Bosch KGN36NW30G White`), or the first words where there is no code (`apple iphone 8`).
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self.brands = [words[0] if (words := product.name.lower().split()) else "" for product in products]
        self.families = [_family(product.name) for product in products]
        categories = [product.category for product in products]
        self._category = _ids(categories)
        self._brand = _ids(list(zip(categories, self.brands, strict=True)))
        self._family = _ids(list(zip(categories, self.brands, self.families, strict=True)))

    def relation(self, product: int, others: np.ndarray) -> np.ndarray:
        """Returns the relation of a product to others: indices in RELATIONS, `[n]` int8."""
        same = [others == product]
        same += [ids[others] == ids[product] for ids in (self._family, self._brand, self._category)]
        return np.select(same, list(range(len(same))), len(same)).astype(np.int8)


class GradedPairs(SplitPairs):
    """Makes pairs with grades; `kinds` are what queries mean, see `queries.MEANT`.

    A title that is as near to the query's product as the query means it has grade 4, and titles of another category have 1
    (GRADES). Then CONFUSED of the grades move to a neighbour.
    """

    def __init__(self, data: DataConfig, products: list[Product], split: str, taken: set[str]) -> None:
        super().__init__(data, products, split, taken)
        self.relations = ProductRelations(products)

    def queries(self, limit: int) -> list[tuple[int, str, str]]:
        """Returns at most `limit` queries, each with its product's index and what is meant."""
        brands, families = self.relations.brands, self.relations.families

        def write(at: int, turn: int) -> tuple[str, str]:
            product = self.products[at]
            draw = self.draw("graded", self.split, turn, product.name)
            meant = draw.choices(list(MEANT), list(MEANT.values()))[0]
            return meant, query_for(product.name, brands[at], families[at], product.category, meant, draw)

        order = self.in_random_order("graded", self.split)
        queries = list(distinct_queries(order, write, limit, self.taken, same=near_key))
        self.kinds.update(meant for _, meant, _ in queries)
        return queries

    def all_candidates(self, limit: int, candidates: int) -> list[Pair]:
        """Makes `candidates` pairs of each of `limit` queries: titles of every relation, and those nearest in words."""
        queries = self.queries(limit)
        nearest = Overlap(self.titles).nearest([query for *_, query in queries], NEAR)
        made: list[Pair] = []
        for (product, meant, query), near in zip(queries, nearest, strict=True):
            draw = self.draw("graded", self.split, query)
            relations = self.relations.relation(product, self.owner)
            for title in _candidates(relations, near[near >= 0], candidates, draw):
                made.append((query, self.titles[title], float(_confused(GRADES[meant][relations[title]], draw))))
        return made


def _candidates(relations: np.ndarray, near: np.ndarray, count: int, draw: random.Random) -> Sequence[int]:
    """Draws titles: half of those that share most words with the query, then as many of each relation as there are."""
    chosen = dict.fromkeys(draw.sample(near.tolist(), min(len(near), count // 2)))
    pools = [np.flatnonzero(relations == level).tolist() for level in range(len(RELATIONS))]
    pools = [draw.sample(pool, min(len(pool), count)) for pool in pools]
    while len(chosen) < count and any(pools):
        for pool in pools:
            if pool and len(chosen) < count:
                chosen[pool.pop()] = None
    return draw.sample(list(chosen), len(chosen))


def _confused(grade: int, draw: random.Random) -> int:
    """Returns the grade that a judge gives, who now and then takes a neighbouring one."""
    if draw.random() >= CONFUSED:
        return grade
    return min(HIGHEST, max(LOWEST, grade + draw.choice((-1, 1))))


def _family(name: str) -> str:
    model = name.lower().split()[1:]
    if model and is_code(model[0]) and not _SIZE.fullmatch(model[0]):
        return model[0][:CODE]
    return " ".join(model[:_NAMING])


def _ids(values: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int32)
