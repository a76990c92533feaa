"""Makes graded pairs of a split's products, as people would grade them: 1 to 4, with their confusions."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfb2d.config import DataConfig
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.graded_queries import MEANT, query_for
from tfb2d.data.offers.labelled_pairs import TURNS, Pair
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.relations import RELATIONS, ProductRelations

LOWEST, HIGHEST = 1, 4
GRADES = {  # by what a query means: the grade of a title by its relation to the query's product, in RELATIONS' order
    "product": (4, 3, 2, 1, 1),
    "family": (4, 4, 3, 2, 1),
    "brand": (4, 4, 4, 2, 1),
}
CONFUSED = 0.15  # share of the grades that the judge moves to a neighbour
NEAR = 12  # titles that share most words with a query, from which candidates are taken


@dataclass
class GradedPairs:
    """Makes graded pairs of a split's products.

    A title that is as near to the query's product as the query means it has grade 4, and titles of another category have 1
    (GRADES). Then CONFUSED of the grades move to a neighbour.

    Attributes:
      data: the settings.
      products: of the split.
      split: its name.
      taken: `near_key` of other splits' queries, which must not occur here.
      kinds: how many queries of each meaning were made, see `MEANT`.
    """

    data: DataConfig
    products: list[Product]
    split: str
    taken: set[str]

    def __post_init__(self) -> None:
        self.titles = [title for product in self.products for title in product.titles]
        self.owner = np.repeat(np.arange(len(self.products)), [len(product.titles) for product in self.products])
        self.product_relations = ProductRelations(self.products)
        self.kinds: Counter[str] = Counter()

    def queries(self, limit: int) -> Iterator[tuple[int, str, str]]:
        """Yields a product's index, what is meant and a query, every product once before any twice, at most `limit`."""
        seed, seen = self.data.offers.seed, set[str]()
        indices = range(len(self.products))
        order = random.Random(hash64(f"{seed}\0graded\0{self.split}")).sample(indices, len(indices))
        for turn in range(TURNS):
            for at in order:
                product = self.products[at]
                draw = random.Random(hash64(f"{seed}\0graded\0{self.split}\0{turn}\0{product.name}"))
                meant = draw.choices(list(MEANT), list(MEANT.values()))[0]
                query = query_for(
                    product.name,
                    self.product_relations.brands[at],
                    self.product_relations.families[at],
                    product.category,
                    meant,
                    draw,
                )
                key = near_key(query)
                if not query or key in seen or key in self.taken:
                    continue
                if len(seen) == limit:
                    return
                seen.add(key)
                self.kinds[meant] += 1
                yield at, meant, query

    def all_candidates(self, limit: int, candidates: int) -> list[Pair]:
        """Makes `candidates` pairs of each of `limit` queries: titles of every relation, and those nearest in words."""
        queries = list(self.queries(limit))
        nearest = Overlap(self.titles).nearest([query for *_, query in queries], NEAR)
        made: list[Pair] = []
        for (product, meant, query), near in zip(queries, nearest, strict=True):
            draw = random.Random(hash64(f"{self.data.offers.seed}\0graded\0{self.split}\0{query}"))
            relations = self.product_relations.relation(product, self.owner)
            chosen = self._candidates(relations, near[near >= 0], candidates, draw)
            made += [
                (query, self.titles[title], float(_confused(GRADES[meant][relations[title]], draw))) for title in chosen
            ]
        return made

    def _candidates(self, relations: np.ndarray, near: np.ndarray, count: int, draw: random.Random) -> Sequence[int]:
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
