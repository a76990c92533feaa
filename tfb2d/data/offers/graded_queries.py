"""Writes short, noisy queries for a product, which name as much of it as the shopper cares about.

A query means the product, its family, or its brand within its category. Its words are not always those of the catalogue:
`telly` stands for `tv`, `inox` for `stainless steel`.
"""

import random
import re

from tfb2d.data.offers.product_queries import is_code, typed

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


def query_for(name: str, brand: str, family: str, category: str, meant: str, draw: random.Random) -> str:
    """Writes a query.

    Args:
      name: the product's.
      brand: its brand.
      family: its family, see `ProductRelations`.
      category: "" if unknown.
      meant: of MEANT.
      draw: a random generator.
    """
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
