"""Makes unlabelled pairs for the transfer set: queries with the titles that a search would show, and with others."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import DataConfig
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import Product, Titles, read_titles
from tfb2d.data.offers.labelled_pairs import TURNS
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.product_queries import draw_kind, is_code, typed

TOP, MISSES, RANDOM = 6, 4, 2  # titles of a query: the nearest, some of those that follow, random ones
CHUNK = 65_536


def write_transfer(
    path: Path, data: DataConfig, products: list[Product], held: Titles, new: set[str], counts: Counter[str]
) -> int:
    """Writes unlabelled pairs, shuffled: queries for training products and for titles, with retrieved titles."""
    more = list(dict.fromkeys(read_titles(data.offers.titles, data.offers.titles_column, data.quoting)))
    free = [title for title in more if not held.has(title)]
    counts["transfer_titles_near_held_out"] = len(more) - len(free)
    pool = list(dict.fromkeys([*(title for product in products for title in product.titles), *free]))
    queries = list(_transfer_queries(data, products, free, new))
    near = Overlap(pool).nearest(queries, TOP + 10 * MISSES)
    rng = np.random.default_rng([data.offers.seed, 1])
    anything = rng.integers(0, len(pool), (len(queries), RANDOM))
    misses = TOP + np.argsort(rng.random((len(queries), 10 * MISSES)), 1)[:, :MISSES]
    titles = np.concatenate([near[:, :TOP], np.take_along_axis(near, misses, 1), anything], 1)
    pairs = np.stack([np.repeat(np.arange(len(queries)), titles.shape[1]), titles.ravel()], 1)
    pairs = pairs[pairs[:, 1] >= 0]
    pairs = pairs[rng.permutation(len(pairs))[: data.offers.transfer]]
    schema = pa.schema([(field, pa.string()) for field in data.fields])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            columns = [[queries[q] for q, _ in chunk], [pool[t] for _, t in chunk]]
            writer.write_table(pa.table([pa.array(c, pa.string()) for c in columns], schema=schema))
    counts["transfer_queries"] = len(queries)
    return len(pairs)


def _transfer_queries(data: DataConfig, products: list[Product], titles: list[str], new: set[str]) -> Iterator[str]:
    """Yields distinct queries, none of them held out: three for products to two for titles, which are shortened."""
    seed, most = data.offers.seed, -(-data.offers.transfer // (TOP + MISSES + RANDOM)) * 21 // 20  # some find less
    mix = random.Random(hash64(f"{seed}\0transfer"))
    names = [product.name for product in products]
    sources = [(name, False) for name in names]
    sources += [(title, True) for title in mix.sample(titles, min(len(titles), len(names) * 2 // 3))]
    mix.shuffle(sources)
    seen: set[str] = set()
    for turn in range(TURNS):
        for name, is_title in sources:
            draw = random.Random(hash64(f"{seed}\0transfer\0{turn}\0{name}"))
            query = typed(_short(name, draw) if is_title else name, draw_kind(draw), draw)
            if query in seen or near_key(query) in new:
                continue
            if len(seen) == most:
                return
            seen.add(query)
            yield query


def _short(title: str, draw: random.Random) -> str:
    """Shortens a title to what a shopper may type: how it begins, its codes, a word or two."""
    words = title.split()
    kept = {0, 1, *draw.sample(range(len(words)), min(len(words), draw.randint(0, 2)))}
    kept |= set([at for at, word in enumerate(words) if is_code(word)][: draw.randint(1, 2)])
    return " ".join(word for at, word in enumerate(words) if at in kept)
