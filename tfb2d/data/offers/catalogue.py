"""Reads a catalogue of offers, and splits it by product so that held-out products and their titles are new."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tfb2d.config import DataConfig
from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.files import expand
from tfb2d.data.keys import near_key
from tfb2d.data.offers.queries import is_code
from tfb2d.data.readers import Reading, columns_of, read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Problem, text_fault
from tfb2d.data.splits import Cutter
from tfb2d.errors import DataError

SPLITS = ("test", "valid", "train")  # titles of an earlier split are kept out of the later ones
SAME = 0.8  # two titles with the same codes and this share of common words (Jaccard) are the same offer
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Product:
    """A product."""

    name: str
    titles: tuple[str, ...]  # the distinct titles of its offers
    category: str  # "" if unknown


def read_products(data: DataConfig, counts: Counter[str], rejects: Rejects) -> list[Product]:
    """Reads the offers of `data.offers`; those that cannot be used go to `rejects`.

    Clusters whose names have the same words are the same product. A title that several products have ("washing machine")
    does not say which product is meant: it is left out everywhere.

    `counts` gets `offers`, `unreadable`, `clusters`, `products`, `ambiguous_titles`, `repeated_titles`. Raises DataError
    where there are no offers, or too many that cannot be used.
    """
    offers = data.offers
    names: dict[str, str] = {}  # by cluster
    categories: dict[str, str] = {}
    # Keys are `near_key` of names and titles.
    titles: dict[str, dict[str, str]] = defaultdict(dict)  # by the product's key, then by the title's
    products: dict[str, str] = {}  # names, by the product's key
    holders: dict[str, set[str]] = defaultdict(set)  # products' keys, by the title's
    columns = (offers.title, offers.cluster, offers.name)
    rejects.begin()
    for path in expand(offers.files):
        for row in read_rows(path, columns, (offers.category,), None, data.quoting, rejects.dialects, data.max_chars):
            values = [str("" if value is None else value).strip() for value in row.values]
            if problem := row.problem or _problem(columns, values, data.max_chars):
                counts["unreadable"] += row.lines
                rejects.add(path, row.number, *problem, lines=row.lines)
                continue
            title, cluster, name, category = values
            rejects.keep(row.lines)
            counts["offers"] += 1
            key = near_key(names.setdefault(cluster, name))
            products.setdefault(key, names[cluster])
            categories.setdefault(key, category)
            counts["repeated_titles"] += near_key(title) in titles[key]
            titles[key].setdefault(near_key(title), title)
            holders[near_key(title)].add(key)
    rejects.check(counts["offers"] + counts["unreadable"])
    if not products:
        raise DataError(f"{', '.join(offers.files)}: no offers")
    counts["clusters"], counts["products"] = len(names), len(products)
    counts["ambiguous_titles"] = sum(len(keys) > 1 for keys in holders.values())
    return [
        Product(name, tuple(t for words, t in titles[key].items() if len(holders[words]) == 1), categories[key])
        for key, name in products.items()
    ]


def _problem(columns: Sequence[str], values: Sequence[str], max_chars: int) -> Problem | None:
    """Says what is wrong with an offer's values; None if nothing is."""
    for column, value in zip(columns, values, strict=False):
        if reason := text_fault(value, max_chars) or ("" if value else "missing value"):
            return Problem(column, reason, value)
    return None


def cut(products: Iterable[Product], data: DataConfig, counts: Counter[str]) -> dict[str, list[Product]]:
    """Splits products with distinct names into test, valid and train, with the titles that are left.

    Titles nearly the same as an earlier split's are left out, and counted as `near_titles`.
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
    """Holds a set of titles that says whether another title is nearly the same as one of them.

    It is if it has the same words, in any order. It also is if it has the same codes (words with a digit) and `SAME` of all
    words: `xperia z5 32gb black` and `sony xperia z5 32gb black` are the same offer, `... 64gb black` is not.
    """

    def __init__(self) -> None:
        self._same: set[str] = set()
        self._by_codes: dict[frozenset[str], list[frozenset[str]]] = defaultdict(list)

    def add(self, titles: Iterable[str]) -> None:
        """Adds titles."""
        for title in titles:
            self._same.add(near_key(title))
            words = _words(title)
            self._by_codes[frozenset(filter(is_code, words))].append(words)

    def has(self, title: str) -> bool:
        """Says whether a title is nearly the same as one that was added."""
        words = _words(title)
        others = self._by_codes.get(frozenset(filter(is_code, words)), ())
        return near_key(title) in self._same or any(len(words & o) >= SAME * len(words | o) for o in others)


def read_titles(files: Sequence[str], column: str, quoting: str = "auto") -> Iterator[str]:
    """Yields the titles of further files; `column` "" takes the last column of files without a header."""
    for path in expand(files):
        if not column:
            yield (first := columns_of(path, quoting)[-1])
            yield from read_titles([str(path)], first, quoting)
            continue
        for row in read_checked_rows(path, (column,), Rejects(None, 1), reading=Reading(quoting=quoting)):
            yield row.texts[0].strip()


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
