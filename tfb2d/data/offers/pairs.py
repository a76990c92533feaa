"""From a catalogue to files of pairs: judged ones for train, valid and test, unjudged ones for the transfer set."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import DataConfig
from tfb2d.data.errors import DataError
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import SPLITS, Product, Titles, cut, read_products, read_titles
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.shoppers import is_code, kind_of, typed
from tfb2d.data.rejects import Rejects

NEAR = 40  # titles that share most with a query: where its wrong answers come from
RELEVANT, HARD, ANY = 2, 3, 1  # of a training query: right titles, near wrong ones, ones of the category or any
TOP, MISSES, RANDOM = 6, 4, 2  # of an unjudged query: the nearest titles, some of those that follow, any
TURNS = 40  # times that a product is asked for in some form, at most
CHUNK = 65_536

Pair = tuple[str, str, float]


def make(data: DataConfig, out: Path, rejects: Rejects) -> tuple[DataConfig, dict[str, Any]]:
    """Writes `train`, `valid`, `test` and `unlabelled` `.parquet` of pairs into `out`.

    Queries are names of products as shoppers type them; relevant are the offers of the product. Wrong answers are mostly
    the titles that share most with the query, then some of the same category, then any. Candidates of held-out queries
    are held-out titles alone, and neither their queries nor titles that nearly equal theirs occur in train or transfer.

    Args:
      data: `offers` says from what and how much.
      out: a folder.
      rejects: gets the offers that cannot be used.

    Returns:
      The settings that read these files, and what was counted.

    Raises:
      DataError: no offers, or too few to fill the splits.
    """
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    splits = cut(read_products(data, counts, rejects), data, counts)
    for name, products in splits.items():
        counts[f"{name}_products"] = len(products)
        if not products:
            raise DataError(f"{', '.join(data.offers.files)}: no product for the {name} split")
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.parquet" for name in (*SPLITS, "unlabelled")}
    asked: set[str] = set()  # held-out queries, as sets of words
    for name in ("test", "valid"):
        judging = _Judging(data, splits[name], name, asked)
        made = judging.all_candidates(data.offers.queries, data.offers.candidates)
        _write(files[name], data, made)
        queries = {query for query, _, _ in made}
        counts[f"{name}_queries"] = len(queries)
        asked = asked | {near_key(query) for query in queries}
        kinds += judging.kinds
    made = _Judging(data, splits["train"], "train", asked).sampled(data.offers.judged)
    counts["train_queries"] = len({query for query, _, _ in made})
    _write(files["train"], data, made)
    held = Titles()
    held.add(title for name in ("test", "valid") for product in splits[name] for title in product.titles)
    counts["transfer_pairs"] = _write_transfer(files["unlabelled"], data, splits["train"], held, asked, counts)
    settings = replace(
        data,
        train=(str(files["train"]),),
        valid=(str(files["valid"]),),
        test=(str(files["test"]),),
        unlabelled=(str(files["unlabelled"]),),
        unlabelled_fields=(),
        group=data.fields[0],  # prepare leaves out whatever asks a held-out query, once more
    )
    return settings, {**dict(sorted(counts.items())), "held_out_queries": dict(sorted(kinds.items()))}


@dataclass
class _Judging:
    """Judged pairs of one split's products.

    Attributes:
      taken: queries (as sets of words) that are asked elsewhere and must not be asked here.
      kinds: of the queries asked.
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

    def asked(self, limit: int) -> Iterator[tuple[int, str]]:
        """Products and queries, every product once before any twice, until `limit` or little new is left."""
        seed, seen = self.data.offers.seed, set[str]()
        numbers = range(len(self.products))
        order = random.Random(hash64(f"{seed}\0{self.split}")).sample(numbers, len(numbers))
        for turn in range(TURNS):
            for number in order:
                draw = random.Random(hash64(f"{seed}\0{turn}\0{self.products[number].name}"))
                kind = kind_of(draw)
                query = typed(self.products[number].name, kind, draw)
                if query in seen or near_key(query) in self.taken:
                    continue
                if len(seen) == limit:
                    return
                seen.add(query)
                self.kinds[kind] += 1
                yield number, query

    def sampled(self, pairs: int) -> list[Pair]:
        """About `pairs` training pairs, RELEVANT + HARD + ANY of a query."""
        asked = list(self.asked(-(-pairs // (HARD + ANY + 1))))
        made: list[Pair] = []
        for (number, query), near in zip(asked, self._near(asked), strict=True):
            draw = self._draw(query)
            right = self._own(number)
            wrong = [*draw.sample(near[: 4 * HARD], min(HARD, len(near[: 4 * HARD])))]
            wrong += self._others(number, ANY, draw, {*right, *wrong})
            right = draw.sample(right, min(RELEVANT, len(right)))
            made += [(query, self.titles[t], 1.0) for t in right] + [(query, self.titles[t], 0.0) for t in wrong]
            if len(made) >= pairs:
                break
        return made

    def all_candidates(self, queries: int, candidates: int) -> list[Pair]:
        """`candidates` pairs of each of `queries` queries: at most a third relevant, most of the rest hard."""
        asked = list(self.asked(queries))
        made: list[Pair] = []
        for (number, query), near in zip(asked, self._near(asked), strict=True):
            draw = self._draw(query)
            right = self._own(number)
            shown = draw.sample(right, min(max(1, candidates // 3), len(right)))
            wrong = near[: (candidates - len(shown)) * 2 // 3]
            wrong += self._others(number, candidates - len(shown) - len(wrong), draw, {*right, *wrong})
            rows = [(query, self.titles[t], 1.0) for t in shown] + [(query, self.titles[t], 0.0) for t in wrong]
            made += draw.sample(rows, len(rows))
        return made

    def _near(self, asked: Sequence[tuple[int, str]]) -> Iterator[list[int]]:
        """Of each query the titles of other products that share most with it, nearest first."""
        found = Overlap(self.titles).nearest([query for _, query in asked], NEAR)
        for (number, _), row in zip(asked, found, strict=True):
            yield [int(t) for t in row if t >= 0 and self.owner[t] != number]

    def _own(self, number: int) -> list[int]:
        return list(range(self.first[number], self.first[number] + len(self.products[number].titles)))

    def _others(self, number: int, count: int, draw: random.Random, without: set[int]) -> list[int]:
        """Titles of other products, half of them of the same category; fewer where there are hardly any."""
        chosen: list[int] = []
        alike = self.of_category[self.products[number].category]
        for pool, enough in ((alike, (count + draw.randrange(2)) // 2), (range(len(self.titles)), count)):
            for _ in range(20 * count):
                title = int(pool[draw.randrange(len(pool))])
                if len(chosen) < enough and title not in without and self.owner[title] != number:
                    chosen.append(title)
                    without.add(title)
        return chosen

    def _draw(self, query: str) -> random.Random:
        return random.Random(hash64(f"{self.data.offers.seed}\0{self.split}\0{query}"))


def _write_transfer(
    path: Path, data: DataConfig, products: list[Product], held: Titles, new: set[str], counts: Counter[str]
) -> int:
    """Unjudged pairs, shuffled: queries for the training products and for titles, with titles retrieved for them."""
    more = list(dict.fromkeys(read_titles(data.offers.titles, data.offers.titles_column, data.quoting)))
    free = [title for title in more if not held.has(title)]
    counts["transfer_titles_near_held_out"] = len(more) - len(free)
    pool = list(dict.fromkeys([*(title for product in products for title in product.titles), *free]))
    asked = list(_transfer_queries(data, products, free, new))
    near = Overlap(pool).nearest(asked, TOP + 10 * MISSES)
    rng = np.random.default_rng([data.offers.seed, 1])
    anything = rng.integers(0, len(pool), (len(asked), RANDOM))
    misses = TOP + np.argsort(rng.random((len(asked), 10 * MISSES)), 1)[:, :MISSES]
    titles = np.concatenate([near[:, :TOP], np.take_along_axis(near, misses, 1), anything], 1)
    pairs = np.stack([np.repeat(np.arange(len(asked)), titles.shape[1]), titles.ravel()], 1)
    pairs = pairs[pairs[:, 1] >= 0]
    pairs = pairs[rng.permutation(len(pairs))[: data.offers.transfer]]
    schema = pa.schema([(field, pa.string()) for field in data.fields])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            columns = [[asked[q] for q, _ in chunk], [pool[t] for _, t in chunk]]
            writer.write_table(pa.table([pa.array(c, pa.string()) for c in columns], schema=schema))
    counts["transfer_queries"] = len(asked)
    return len(pairs)


def _transfer_queries(data: DataConfig, products: list[Product], titles: list[str], new: set[str]) -> Iterator[str]:
    """Distinct queries, none of them held out: three for products to two for titles, which are asked for in short."""
    seed, wanted = data.offers.seed, -(-data.offers.transfer // (TOP + MISSES + RANDOM)) * 21 // 20  # some find less
    mix = random.Random(hash64(f"{seed}\0transfer"))
    names = [product.name for product in products]
    sources = [(name, False) for name in names]
    sources += [(title, True) for title in mix.sample(titles, min(len(titles), len(names) * 2 // 3))]
    mix.shuffle(sources)
    seen: set[str] = set()
    for turn in range(TURNS):
        for name, is_title in sources:
            draw = random.Random(hash64(f"{seed}\0transfer\0{turn}\0{name}"))
            query = typed(_short(name, draw) if is_title else name, kind_of(draw), draw)
            if query in seen or near_key(query) in new:
                continue
            if len(seen) == wanted:
                return
            seen.add(query)
            yield query


def _short(title: str, draw: random.Random) -> str:
    """What somebody who looks for a title's product may ask for: how it begins, its codes, a word or two."""
    words = title.split()
    kept = {0, 1, *draw.sample(range(len(words)), min(len(words), draw.randint(0, 2)))}
    kept |= set([at for at, word in enumerate(words) if is_code(word)][: draw.randint(1, 2)])
    return " ".join(word for at, word in enumerate(words) if at in kept)


def _write(path: Path, data: DataConfig, pairs: Sequence[Pair]) -> None:
    columns = [*data.fields, data.label]
    types = [pa.string(), pa.string(), pa.float32()]
    values = list(zip(*pairs, strict=True)) or [(), (), ()]
    pq.write_table(pa.table([pa.array(v, t) for v, t in zip(values, types, strict=True)], columns), path)
