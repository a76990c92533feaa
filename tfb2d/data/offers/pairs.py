"""Makes files of pairs from a catalogue: labelled ones for the splits, unlabelled ones for the transfer set."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import DataConfig
from tfb2d.data.keys import hash64, near_key
from tfb2d.data.offers.catalogue import SPLITS, Product, Titles, cut, read_products, read_titles
from tfb2d.data.offers.graded_pairs import GradedPairs
from tfb2d.data.offers.labelled_pairs import LabelledPairs, Pair, distinct_queries
from tfb2d.data.offers.overlap import Overlap
from tfb2d.data.offers.queries import draw_kind, is_code, typed
from tfb2d.data.rejects import Rejects
from tfb2d.errors import DataError

TRAIN_CANDIDATES = 8  # titles of a graded training query
TOP, MISSES, RANDOM = 6, 4, 2  # titles of an unlabelled query: the nearest, some of those that follow, random ones
CHUNK = 65_536


def make(data: DataConfig, out: Path, rejects: Rejects) -> tuple[DataConfig, dict[str, Any]]:
    """Writes `train`, `valid`, `test` and `unlabelled` `.parquet` of pairs into `out`.

    Queries are names of products as shoppers type them, and the product's offers are relevant. Irrelevant titles are mostly
    those that share most with the query, then some of the same category, then any. Held-out queries have held-out titles
    alone. Their queries, and titles nearly the same as theirs, do not occur in train or transfer. With `offers.graded`,
    pairs have grades (`GradedPairs`), and `queries.parquet` and `titles.parquet` take the place of `unlabelled.parquet`.

    Returns the settings that read these files, and counts for `stats.json`. Raises DataError where there are no offers,
    or too few to fill the splits.
    """
    offers = data.offers
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    splits = cut(read_products(data, counts, rejects), data, counts)
    for name, products in splits.items():
        counts[f"{name}_products"] = len(products)
        if not products:
            raise DataError(f"{', '.join(offers.files)}: no product for the {name} split")
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.parquet" for name in (*SPLITS, "unlabelled", "queries", "titles")}
    taken: set[str] = set()  # held-out queries, as sets of words
    for name in ("test", "valid"):
        maker = (GradedPairs if offers.graded else LabelledPairs)(data, splits[name], name, taken)
        made = maker.all_candidates(offers.queries, offers.candidates)
        kinds += maker.kinds
        _write_labelled(files[name], data, made)
        queries = {query for query, _, _ in made}
        counts[f"{name}_queries"] = len(queries)
        taken = taken | {near_key(query) for query in queries}
    if offers.graded:
        graded = GradedPairs(data, splits["train"], "train", taken)
        made = graded.all_candidates(-(-offers.labelled // TRAIN_CANDIDATES), TRAIN_CANDIDATES)
        more = GradedPairs(data, splits["train"], "transfer", taken).queries(offers.transfer_queries)
        texts = {"queries": [query for *_, query in more], "titles": graded.titles}
        for name, field in zip(texts, data.fields, strict=True):
            _write(files[name], [field], [texts[name]])
            counts[f"transfer_{name}"] = len(texts[name])
        data = replace(data, queries=(str(files["queries"]),), titles=(str(files["titles"]),))
    else:
        made = LabelledPairs(data, splits["train"], "train", taken).sampled(offers.labelled)
        held = Titles()
        held.add(title for name in ("test", "valid") for product in splits[name] for title in product.titles)
        counts["transfer_pairs"] = _write_transfer(files["unlabelled"], data, splits["train"], held, taken, counts)
        data = replace(data, unlabelled=(str(files["unlabelled"]),))
    counts["train_queries"] = len({query for query, _, _ in made})
    _write_labelled(files["train"], data, made)
    settings = replace(
        data,
        train=(str(files["train"]),),
        valid=(str(files["valid"]),),
        test=(str(files["test"]),),
        unlabelled_fields=(),
        group=data.fields[0],  # so that `prepare` leaves out held-out queries once more
    )
    return settings, {**dict(sorted(counts.items())), "held_out_queries": dict(sorted(kinds.items()))}


def _write_transfer(
    path: Path, data: DataConfig, products: list[Product], held: Titles, taken: set[str], counts: Counter[str]
) -> int:
    """Writes unlabelled pairs, shuffled: queries for training products and for titles, with retrieved titles."""
    more = list(dict.fromkeys(read_titles(data.offers.titles, data.offers.titles_column, data.quoting)))
    free = [title for title in more if not held.has(title)]
    counts["transfer_titles_near_held_out"] = len(more) - len(free)
    pool = list(dict.fromkeys([*(title for product in products for title in product.titles), *free]))
    queries = list(_transfer_queries(data, products, free, taken))
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


def _transfer_queries(data: DataConfig, products: list[Product], titles: list[str], taken: set[str]) -> Iterator[str]:
    """Yields distinct queries, none of them held out: three for products to two for titles, which are shortened."""
    seed, most = data.offers.seed, -(-data.offers.transfer // (TOP + MISSES + RANDOM)) * 21 // 20  # some find less
    mix = random.Random(hash64(f"{seed}\0transfer"))
    names = [product.name for product in products]
    sources = [(name, False) for name in names]
    sources += [(title, True) for title in mix.sample(titles, min(len(titles), len(names) * 2 // 3))]
    mix.shuffle(sources)

    def write(source: tuple[str, bool], turn: int) -> tuple[str, str]:
        name, is_title = source
        draw = random.Random(hash64(f"{seed}\0transfer\0{turn}\0{name}"))
        text = _short(name, draw) if is_title else name
        kind = draw_kind(draw)
        return kind, typed(text, kind, draw)

    return (query for *_, query in distinct_queries(sources, write, most, taken))


def _short(title: str, draw: random.Random) -> str:
    """Shortens a title to what a shopper may type: how it begins, its codes, a word or two."""
    words = title.split()
    kept = {0, 1, *draw.sample(range(len(words)), min(len(words), draw.randint(0, 2)))}
    kept |= set([at for at, word in enumerate(words) if is_code(word)][: draw.randint(1, 2)])
    return " ".join(word for at, word in enumerate(words) if at in kept)


def _write_labelled(path: Path, data: DataConfig, pairs: Sequence[Pair]) -> None:
    _write(path, [*data.fields, data.label], list(zip(*pairs, strict=True)) or [(), (), ()])


def _write(path: Path, names: Sequence[str], columns: Iterable[Sequence[Any]]) -> None:
    """Writes columns of texts and, after two of them, labels."""
    types = [pa.string(), pa.string(), pa.float32()]
    pq.write_table(pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=False)], list(names)), path)
