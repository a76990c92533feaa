"""Says how nearly two products are related: the same, of one model family, of one category and brand, of one category."""

import re
from collections.abc import Sequence

import numpy as np

from tfb2d.data.offers.catalogue import Product
from tfb2d.data.offers.product_queries import is_code

RELATIONS = ("product", "family", "brand", "category", "other")  # the nearest first
CODE = 4  # first characters of a model code that name its family
_SIZE = re.compile(r"\d+(?:\.\d+)?(?:gb|tb|mb|ghz|mhz|mm|cm|kg|w|l|inch)?")
_NAMING = 2  # words of a model without a code that name its family


class ProductRelations:
    """Relates the products of a catalogue.

    A product's brand is the first word of its name. Its family is the first characters of the model code behind the brand
    (`bosch kgn3` of `Bosch KGN36NW30G White`), or the first words where there is no code (`apple iphone 8`).

    Args:
      products: the products.
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self.brands = [words[0] if (words := product.name.lower().split()) else "" for product in products]
        self.families = [_family(product.name) for product in products]
        categories = [product.category for product in products]
        self._category = _ids(categories)
        self._brand = _ids(list(zip(categories, self.brands, strict=True)))
        self._family = _ids(list(zip(categories, self.brands, self.families, strict=True)))

    def relation(self, product: int, others: np.ndarray) -> np.ndarray:
        """Returns the relation of a product to others: indices in RELATIONS, `[n]` int8."""
        same = [others == product]
        same += [ids[others] == ids[product] for ids in (self._family, self._brand, self._category)]
        return np.select(same, list(range(len(same))), len(same)).astype(np.int8)


def _family(name: str) -> str:
    model = name.lower().split()[1:]
    if model and is_code(model[0]) and not _SIZE.fullmatch(model[0]):
        return model[0][:CODE]
    return " ".join(model[:_NAMING])


def _ids(values: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int32)
