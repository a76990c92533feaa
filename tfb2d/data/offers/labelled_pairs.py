"""Makes a split's labelled pairs: queries for its products, with relevant and irrelevant titles."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from tfb2d.config import DataConfig
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.queries import draw_kind, typed

NEAR = 40  # titles that share most words with a query, from which hard negatives are taken
RELEVANT, HARD, ANY = 2, 3, 1  # titles of a training query: relevant, hard negatives, other negatives
TURNS = 40  # the most queries for a product

Pair = tuple[str, str, float]
Source = TypeVar("Source")


def distinct_queries(
    sources: Sequence[Source],
    write: Callable[[Source, int], tuple[str, str]],
    limit: int,
    taken: set[str],
    same: Callable[[str], str] = str,
) -> Iterator[tuple[Source, str, str]]:
    """Yields a source, a kind and a query, every source once before any twice, up to TURNS times each.

    `write` makes the kind and the query of a source in a turn. At most `limit` queries are yielded, none whose
    `near_key` is `taken`, and none twice by the key `same`.
    """
    seen: set[str] = set()
    for turn in range(TURNS):
        for source in sources:
            kind, query = write(source, turn)
            if not query or same(query) in seen or near_key(query) in taken:
                continue
            if len(seen) == limit:
                return
            seen.add(same(query))
            yield source, kind, query


class SplitPairs:
    """Holds a split's products, of whose titles pairs are made.

    `taken` are the `near_key`s of other splits' queries, which must not occur here.
    """

    def __init__(self, data: DataConfig, products: list[Product], split: str, taken: set[str]) -> None:
        self.data, self.products, self.split, self.taken = data, products, split, taken
        self.titles = [title for product in products for title in product.titles]
        self.owner = np.repeat(np.arange(len(products)), [len(product.titles) for product in products])  # of titles
        self.kinds: Counter[str] = Counter()  # of the queries that were made

    def draw(self, *parts: object) -> random.Random:
        """Returns a random generator that depends on the seed and these parts."""
        return random.Random(hash64("\0".join(map(str, (self.data.offers.seed, *parts)))))

    def in_random_order(self, *parts: object) -> list[int]:
        """Returns the products' indices in an order that depends on the seed and these parts."""
        return self.draw(*parts).sample(range(len(self.products)), len(self.products))


class LabelledPairs(SplitPairs):
    """Makes pairs with labels 0 and 1; `kinds` are those of `queries.KINDS`."""

    def __init__(self, data: DataConfig, products: list[Product], split: str, taken: set[str]) -> None:
        super().__init__(data, products, split, taken)
        self.first = np.searchsorted(self.owner, np.arange(len(products)))
        categories = np.array([products[owner].category for owner in self.owner])
        self.of_category = {name: np.flatnonzero(categories == name) for name in np.unique(categories)}

    def queries(self, limit: int) -> list[tuple[int, str]]:
        """Returns at most `limit` queries, each with its product's index."""

        def write(product: int, turn: int) -> tuple[str, str]:
            draw = self.draw(turn, self.products[product].name)
            kind = draw_kind(draw)
            return kind, typed(self.products[product].name, kind, draw)

        queries = list(distinct_queries(self.in_random_order(self.split), write, limit, self.taken))
        self.kinds.update(kind for _, kind, _ in queries)
        return [(product, query) for product, _, query in queries]

    def sampled(self, pairs: int) -> list[Pair]:
        """Makes about `pairs` training pairs, RELEVANT + HARD + ANY for each query."""
        queries = self.queries(-(-pairs // (HARD + ANY + 1)))
        made: list[Pair] = []
        for (product, query), near in zip(queries, self._near(queries), strict=True):
            draw = self.draw(self.split, query)
            right = self._own(product)
            wrong = [*draw.sample(near[: 4 * HARD], min(HARD, len(near[: 4 * HARD])))]
            wrong += self._others(product, ANY, draw, {*right, *wrong})
            right = draw.sample(right, min(RELEVANT, len(right)))
            made += self._pairs(query, right, wrong)
            if len(made) >= pairs:
                break
        return made

    def all_candidates(self, limit: int, candidates: int) -> list[Pair]:
        """Makes `candidates` pairs of each of `limit` queries: at most a third relevant, most others hard negatives."""
        queries = self.queries(limit)
        made: list[Pair] = []
        for (product, query), near in zip(queries, self._near(queries), strict=True):
            draw = self.draw(self.split, query)
            right = self._own(product)
            shown = draw.sample(right, min(max(1, candidates // 3), len(right)))
            wrong = near[: (candidates - len(shown)) * 2 // 3]
            wrong += self._others(product, candidates - len(shown) - len(wrong), draw, {*right, *wrong})
            rows = self._pairs(query, shown, wrong)
            made += draw.sample(rows, len(rows))
        return made

    def _pairs(self, query: str, right: Sequence[int], wrong: Sequence[int]) -> list[Pair]:
        return [(query, self.titles[t], label) for label, titles in ((1.0, right), (0.0, wrong)) for t in titles]

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
