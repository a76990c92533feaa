"""Makes a split's labelled pairs: queries for its products, with relevant and irrelevant titles."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfb2d.config import DataConfig
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.product_queries import draw_kind, typed

NEAR = 40  # titles that share most words with a query, from which hard negatives are taken
RELEVANT, HARD, ANY = 2, 3, 1  # titles of a training query: relevant, hard negatives, other negatives
TURNS = 40  # the most queries for a product

Pair = tuple[str, str, float]


@dataclass
class LabelledPairs:
    """Makes labelled pairs of a split's products.

    Attributes:
      data: the settings.
      products: of the split.
      split: its name.
      taken: `near_key` of other splits' queries, which must not occur here.
      kinds: how many queries of each kind were made, see `product_queries.KINDS`.
    """

    data: DataConfig
    products: list[Product]
    split: str
    taken: set[str]

    def __post_init__(self) -> None:
        self.titles = [title for product in self.products for title in product.titles]
        self.owner = np.repeat(np.arange(len(self.products)), [len(product.titles) for product in self.products])
        self.first = np.searchsorted(self.owner, np.arange(len(self.products)))
        categories = np.array([self.products[owner].category for owner in self.owner])
        self.of_category = {name: np.flatnonzero(categories == name) for name in np.unique(categories)}
        self.kinds: Counter[str] = Counter()

    def queries(self, limit: int) -> Iterator[tuple[int, str]]:
        """Yields a product's index and a query, every product once before any twice, at most `limit` of them."""
        seed, seen = self.data.offers.seed, set[str]()
        indices = range(len(self.products))
        order = random.Random(hash64(f"{seed}\0{self.split}")).sample(indices, len(indices))
        for turn in range(TURNS):
            for product in order:
                draw = random.Random(hash64(f"{seed}\0{turn}\0{self.products[product].name}"))
                kind = draw_kind(draw)
                query = typed(self.products[product].name, kind, draw)
                if query in seen or near_key(query) in self.taken:
                    continue
                if len(seen) == limit:
                    return
                seen.add(query)
                self.kinds[kind] += 1
                yield product, query

    def sampled(self, pairs: int) -> list[Pair]:
        """Makes about `pairs` training pairs, RELEVANT + HARD + ANY for each query."""
        queries = list(self.queries(-(-pairs // (HARD + ANY + 1))))
        made: list[Pair] = []
        for (product, query), near in zip(queries, self._near(queries), strict=True):
            draw = self._draw(query)
            right = self._own(product)
            wrong = [*draw.sample(near[: 4 * HARD], min(HARD, len(near[: 4 * HARD])))]
            wrong += self._others(product, ANY, draw, {*right, *wrong})
            right = draw.sample(right, min(RELEVANT, len(right)))
            made += [(query, self.titles[t], 1.0) for t in right] + [(query, self.titles[t], 0.0) for t in wrong]
            if len(made) >= pairs:
                break
        return made

    def all_candidates(self, limit: int, candidates: int) -> list[Pair]:
        """Makes `candidates` pairs of each of `limit` queries: at most a third relevant, most others hard negatives."""
        queries = list(self.queries(limit))
        made: list[Pair] = []
        for (product, query), near in zip(queries, self._near(queries), strict=True):
            draw = self._draw(query)
            right = self._own(product)
            shown = draw.sample(right, min(max(1, candidates // 3), len(right)))
            wrong = near[: (candidates - len(shown)) * 2 // 3]
            wrong += self._others(product, candidates - len(shown) - len(wrong), draw, {*right, *wrong})
            rows = [(query, self.titles[t], 1.0) for t in shown] + [(query, self.titles[t], 0.0) for t in wrong]
            made += draw.sample(rows, len(rows))
        return made

    def _near(self, queries: Sequence[tuple[int, str]]) -> Iterator[list[int]]:
        """Yields for each query the indices of other products' titles that share most with it, nearest first."""
        nearest = Overlap(self.titles).nearest([query for _, query in queries], NEAR)
        for (product, _), row in zip(queries, nearest, strict=True):
            yield [int(t) for t in row if t >= 0 and self.owner[t] != product]

    def _own(self, product: int) -> list[int]:
        return list(range(self.first[product], self.first[product] + len(self.products[product].titles)))

    def _others(self, product: int, count: int, draw: random.Random, without: set[int]) -> list[int]:
        """Draws indices of other products' titles, half of them of the same category; fewer where there are few."""
        chosen: list[int] = []
        alike = self.of_category[self.products[product].category]
        for pool, enough in ((alike, (count + draw.randrange(2)) // 2), (range(len(self.titles)), count)):
            for _ in range(20 * count):
                title = int(pool[draw.randrange(len(pool))])
                if len(chosen) < enough and title not in without and self.owner[title] != product:
                    chosen.append(title)
                    without.add(title)
        return chosen

    def _draw(self, query: str) -> random.Random:
        return random.Random(hash64(f"{self.data.offers.seed}\0{self.split}\0{query}"))
