"""The catalogue: products with their offers, cut so that held-out products and their titles are new."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tfb2d.config import DataConfig
from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.checks import text_fault
from tfb2d.data.errors import DataError
from tfb2d.data.files import expand
from tfb2d.data.keys import near_key
from tfb2d.data.offers.shoppers import is_code
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem
from tfb2d.data.splits import Cutter

SPLITS = ("test", "valid", "train")  # an earlier one's titles are kept out of the later ones
SAME = 0.8  # share of common words from which two titles with the same codes are the same offer
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Product:
    """A product: what it is called, the titles of its offers (distinct ones), its category ("" if unknown)."""

    name: str
    titles: tuple[str, ...]
    category: str


def read_products(data: DataConfig, counts: Counter[str], rejects: Rejects) -> list[Product]:
    """Reads the offers.

    Clusters of the same name (the same words) are one product. A title that stands in several products ("washing
    machine") says which is meant no better than chance would: it is left out everywhere.

    Args:
      data: `offers` names the files and their columns.
      counts: gets `offers`, `unreadable`, `clusters`, `products`, `ambiguous_titles`, `repeated_titles`.
      rejects: gets the offers that cannot be used.

    Raises:
      DataError: no offers, or too many that cannot be used.
    """
    offers = data.offers
    names: dict[str, str] = {}  # by cluster
    categories: dict[str, str] = {}
    titles: dict[str, dict[str, str]] = defaultdict(
        dict
    )  # by the words of the product's name, by the title's own words
    products: dict[str, str] = {}
    holders: dict[str, set[str]] = defaultdict(set)  # products by the words of a title
    columns = (offers.title, offers.cluster, offers.name)
    rejects.begin()
    for path in expand(offers.files):
        for row in read_rows(path, columns, (offers.category,), None, data.quoting, rejects.dialects):
            values = [str("" if value is None else value).strip() for value in row.values]
            if problem := row.problem or _problem(columns, values, data.max_chars):
                counts["unreadable"] += 1
                rejects.add(path, row.number, *problem)
                continue
            title, cluster, name, category = values
            counts["offers"] += 1
            key = near_key(names.setdefault(cluster, name))
            products.setdefault(key, names[cluster])
            categories.setdefault(key, category)
            counts["repeated_titles"] += near_key(title) in titles[key]
            titles[key].setdefault(near_key(title), title)
            holders[near_key(title)].add(key)
    rejects.judge(counts["offers"] + counts["unreadable"])
    if not products:
        raise DataError(f"{', '.join(offers.files)}: no offers")
    counts["clusters"], counts["products"] = len(names), len(products)
    counts["ambiguous_titles"] = sum(len(keys) > 1 for keys in holders.values())
    return [
        Product(name, tuple(t for words, t in titles[key].items() if len(holders[words]) == 1), categories[key])
        for key, name in products.items()
    ]


def _problem(columns: Sequence[str], values: Sequence[str], max_chars: int) -> Problem | None:
    """Says what is wrong with an offer's values, or None."""
    for column, value in zip(columns, values, strict=False):
        if reason := text_fault(value, max_chars) or ("" if value else "missing value"):
            return Problem(column, reason, value)
    return None


def cut(products: Iterable[Product], data: DataConfig, counts: Counter[str]) -> dict[str, list[Product]]:
    """Cuts by product, and keeps titles that are nearly those of an earlier split out of the later ones.

    Args:
      products: with distinct names.
      data: `valid_fraction`, `test_fraction` and `split_seed` of the products' names.
      counts: gets `near_titles`: how many were left out.
    """
    cutter = Cutter(data)
    splits: dict[str, list[Product]] = {name: [] for name in SPLITS}
    for product in products:
        splits[cutter.split((product.name,), near_key(product.name))].append(product)
    held = Titles()
    for name in SPLITS:
        kept = []
        for product in splits[name]:
            new = tuple(title for title in product.titles if not held.has(title))
            counts["near_titles"] += len(product.titles) - len(new)
            if new:
                kept.append(Product(product.name, new, product.category))
        splits[name] = kept
        held.add(title for product in kept for title in product.titles)
    return splits


class Titles:
    """Titles that are held out, and whether another one is nearly one of them.

    It is if it has the same words, in any order, or the same codes (words with a digit) and `SAME` of all words (Jaccard):
    `xperia z5 32gb black` and `sony xperia z5 32gb black` are one offer, `... 64gb black` is another.
    """

    def __init__(self) -> None:
        self._same: set[str] = set()
        self._by_codes: dict[frozenset[str], list[frozenset[str]]] = defaultdict(list)

    def add(self, titles: Iterable[str]) -> None:
        """Holds titles out."""
        for title in titles:
            self._same.add(near_key(title))
            words = _words(title)
            self._by_codes[frozenset(filter(is_code, words))].append(words)

    def has(self, title: str) -> bool:
        """Whether a title is nearly one of those held out."""
        words = _words(title)
        others = self._by_codes.get(frozenset(filter(is_code, words)), ())
        return near_key(title) in self._same or any(len(words & o) >= SAME * len(words | o) for o in others)


def read_titles(files: Sequence[str], column: str, quoting: str = "auto") -> Iterator[str]:
    """Yields the titles of further files; `column` "" takes the last one of files without a header."""
    for path in expand(files):
        if not column:
            yield (first := columns_of(path, quoting)[-1])
            yield from read_titles([str(path)], first, quoting)
            continue
        for row in read_checked_rows(path, (column,), Rejects(None, 1), quoting=quoting):
            yield row.texts[0].strip()


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
