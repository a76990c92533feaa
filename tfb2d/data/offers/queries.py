"""Writes queries for a product as shoppers type them.

`typed` changes a product's name: words are left out, in another order, or misspelled. `query_for` writes short, noisy
queries for the product, its family, or its brand within its category, in the shopper's words: `telly` stands for `tv`.
"""

import random
import re
from collections.abc import Callable

KINDS = {"whole": 0.4, "dropped": 0.2, "reordered": 0.15, "misspelled": 0.25}  # their shares
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # neighbours on the keyboard
_NEIGHBOURS = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, key in enumerate(row)}

MEANT = {"product": 0.45, "family": 0.3, "brand": 0.25}  # the relation that a query is content with, and its share
_OTHER_WORDS = {  # what shoppers call a category or a feature, beside the catalogue's own word
    "mobile phones": ("mobile phone", "smartphone", "cell phone", "handset", "sim free phone"),
    "cpus": ("cpu", "processor", "desktop chip"),
    "digital cameras": ("digital camera", "camera", "photo camera", "mirrorless", "dslr"),
    "dishwashers": ("dishwasher", "dish washer", "dish washing machine"),
    "freezers": ("freezer", "deep freezer", "chest freezer", "frozen food cabinet"),
    "fridge freezers": ("fridge freezer", "refrigerator with freezer", "combi fridge", "american fridge"),
    "fridges": ("fridge", "refrigerator", "larder cooler", "icebox"),
    "microwaves": ("microwave", "microwave oven", "combination oven"),
    "tvs": ("tv", "television", "telly", "flat screen", "smart tv"),
    "washing machines": ("washing machine", "washer", "laundry machine", "front loader"),
    "stainless steel": ("inox", "steel", "metal finish"),
    "graphite": ("dark grey",),
    "integrated": ("built in", "built under"),
    "white": ("wht", "ivory"),
    "black": ("blk", "jet black"),
    "silver": ("grey metal",),
    "dual sim": ("two sim cards", "2 sim"),
}
_UNIT = re.compile(r"(\d)(gb|tb|ghz|mm|cm|kg|mp|inch)\b")
_UNIT_APART = re.compile(r"(\d) (gb|tb|ghz|mm|cm|kg|mp|inch)\b")


def draw_kind(draw: random.Random) -> str:
    """Draws one of KINDS."""
    return draw.choices(list(KINDS), list(KINDS.values()))[0]


def typed(name: str, kind: str, draw: random.Random) -> str:
    """Writes a query, lower-cased, for a product's name; the whole name where it is too short for a change of the kind.

    Words with a digit in them (model codes, sizes) distinguish products, so they are never dropped. But a long code may
    lose its last characters or be cut in two.
    """
    words = name.lower().split()
    return " ".join(_CHANGES[kind](words, draw)) if len(words) > 1 else " ".join(words)


def is_code(word: str) -> bool:
    """Says whether a word has a digit in it."""
    return any(map(str.isdigit, word))


def _dropped(words: list[str], draw: random.Random) -> list[str]:
    plain = [at for at, word in enumerate(words) if not is_code(word)]
    most = min(len(plain), max(1, len(words) // 3), len(words) - 1)
    if most < 1 or (len(plain) == len(words) and len(words) < 3):
        return words
    dropped = set(draw.sample(plain, draw.randint(1, most)))
    return [word for at, word in enumerate(words) if at not in dropped]


def _reordered(words: list[str], draw: random.Random) -> list[str]:
    at, to = draw.sample(range(len(words)), 2)
    others = words[:at] + words[at + 1 :]
    return [*others[:to], words[at], *others[to:]]


def _misspelled(words: list[str], draw: random.Random) -> list[str]:
    long = [at for at, word in enumerate(words) if len(word) > 3]
    if not long:
        return words
    at = draw.choice(long)
    word = words[at]
    changed = _mistyped_code(word, draw) if is_code(word) else _mistyped_word(word, draw)
    return [*words[:at], changed, *words[at + 1 :]]


def _mistyped_code(word: str, draw: random.Random) -> str:
    borders = [i for i in range(1, len(word)) if word[i].isdigit() != word[i - 1].isdigit()]
    if len(word) > 6 and (not borders or draw.random() < 0.5):
        return word[: -draw.randint(1, 3)]
    border = draw.choice(borders) if borders else len(word)
    return f"{word[:border]} {word[border:]}".strip()


def _mistyped_word(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word))  # the first letter is seldom wrong
    change = draw.randrange(4)
    if change == 0:
        return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
    if change == 1:
        return word[:at] + word[at + 1 :]
    if change == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + draw.choice(_NEIGHBOURS.get(word[at]) or word[at]) + word[at + 1 :]


_CHANGES: dict[str, Callable[[list[str], random.Random], list[str]]] = {
    "whole": lambda words, draw: words,
    "dropped": _dropped,
    "reordered": _reordered,
    "misspelled": _misspelled,
}


def query_for(name: str, brand: str, family: str, category: str, meant: str, draw: random.Random) -> str:
    """Writes a query for a product; `meant` is one of MEANT, and `ProductRelations` says what brand and family are."""
    kind = category.lower()
    called = draw.choice(_OTHER_WORDS.get(kind, (kind,)))
    if meant == "product":
        model = [word for word in name.lower().split()[1:] if draw.random() < 0.8 or is_code(word)]
        words = [*_brand_first(brand, model[:5], draw), *([called] if draw.random() < 0.35 else [])]
    elif meant == "family":
        words = [*_brand_first(brand, family.split(), draw), *([called] if draw.random() < 0.7 else [])]
    else:
        feature = [word for word in name.lower().split()[1:] if not is_code(word) and len(word) > 3]
        extra = draw.sample(feature, min(len(feature), draw.randrange(2)))
        words = [*extra, called]
        words = [brand, *words] if draw.random() < 0.8 else [*words, brand]
    query = _other_words(_units(" ".join(words), draw), draw)
    kind = draw.choices(("whole", "reordered", "misspelled"), (0.65, 0.1, 0.25))[0]
    return typed(query, kind, draw)


def _brand_first(brand: str, model: list[str], draw: random.Random) -> list[str]:
    """Puts the brand first, leaves it out, or puts it last."""
    where = draw.choices(("first", "missing", "last"), (0.65, 0.2, 0.15))[0]
    return [brand, *model] if where == "first" or not model else model if where == "missing" else [*model, brand]


def _units(query: str, draw: random.Random) -> str:
    """Writes numbers and their units apart or together, half of the time the other way than they stand."""
    if draw.random() < 0.5:
        return query
    apart = _UNIT.sub(r"\1 \2", query)
    return apart if apart != query else _UNIT_APART.sub(r"\1\2", query)


def _other_words(query: str, draw: random.Random) -> str:
    """Replaces features by other words for them, half of the time."""
    for feature, others in _OTHER_WORDS.items():
        if f" {feature} " in f" {query} " and draw.random() < 0.5:
            query = f" {query} ".replace(f" {feature} ", f" {draw.choice(others)} ").strip()
    return query
