"""Cuts the catalogue into a task of ten classes: tell an offer's category by its title.

  python examples/pricerunner/categories.py FOLDER

Writes `labelled.csv` (title, category, product) and `unlabelled.csv` (title). Products are drawn at random, and all offers
of a product go to the same file. Of 35,311 offers about a quarter have a label; train, validation and test are cut of them.
"""

import argparse
import csv
import gzip
import random
from pathlib import Path

LABELLED = 0.25  # share of the products
SEED = 0


def main(folder: Path) -> None:
    """Writes the two files."""
    with gzip.open(Path(__file__).with_name("offers.csv.gz"), "rt", encoding="utf-8") as file:
        offers = list(csv.DictReader(file))
    products = sorted({offer["cluster_label"] for offer in offers})
    labelled = set(random.Random(SEED).sample(products, round(LABELLED * len(products))))
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns, wanted in (
        ("labelled.csv", ("title", "category", "product"), True),
        ("unlabelled.csv", ("title",), False),
    ):
        with (folder / name).open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(columns)
            for offer in offers:
                if (offer["cluster_label"] in labelled) == wanted:
                    row = (offer["product_title"], offer["category_label"], offer["cluster_label"])
                    writer.writerow(row[: len(columns)])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    main(arguments.parse_args().folder)
