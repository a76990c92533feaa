"""A tiny twin that really retrieves: hashed n-grams, trained for seconds on offers of the catalogue in `examples`."""

import csv
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfb2d.config.twin import TwinConfig
from tfb2d.data.task import Task
from tfb2d.evaluation.headline import Headline
from tfb2d.twin.model import Twin, distinct, new_twin
from tfb2d.twin.pairs import Pairs
from tfb2d.twin.saved_model import export
from tfb2d.twin.training import TwinTraining, Validation

OFFERS = Path(__file__).parents[2] / "examples/pricerunner/offers.csv.gz"
CONFIG = TwinConfig(kind="ngram", buckets=2**13, width=32, dim=32, crossing="cosine", epochs=6, batch_size=256)
TASK = Task(("query", "title"))
EVERY = 20  # takes one product of so many
NEGATIVES = 4  # titles of other products, a positive pair


class Offer(NamedTuple):
    """An offer: its id, its title, and the product that it is of."""

    id: str
    title: str
    product: str


def some_offers() -> list[Offer]:
    """Returns about 1,750 offers of some 660 products."""
    with gzip.open(OFFERS, "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["cluster_id"]) % EVERY == 1]
    return [Offer(row["product_id"], row["product_title"], row["cluster_label"]) for row in rows]


def pairs_of(offers: list[Offer], seed: int) -> Pairs:
    """Returns each offer with its product's name, and titles of other products; a teacher would be this sure."""
    rng = np.random.default_rng(seed)
    queries, query_of = distinct([offer.product for offer in offers])
    titles, title_of = distinct([offer.title for offer in offers])
    drawn = rng.integers(len(offers), size=len(offers) * NEGATIVES)
    of = np.concatenate([query_of, np.repeat(query_of, NEGATIVES)])
    labels = (of == query_of[np.concatenate([np.arange(len(offers)), drawn])]).astype(np.float32)
    soft = np.where(labels > 0, 0.98, 0.02).astype(np.float32)
    teacher = np.log(soft / (1 - soft))
    return Pairs(queries, titles, of, np.concatenate([title_of, title_of[drawn]]), soft, teacher, labels)


def trained_twin(folder: Path) -> Twin:
    """Trains a twin; `folder` gets checkpoints."""
    offers = some_offers()
    twin = new_twin(CONFIG, TASK, None)
    pairs = pairs_of(offers[:200], 1)
    valid = Validation(pairs, Headline(TASK, "roc_auc", pairs.labels.astype(np.float64)))
    TwinTraining(twin, pairs_of(offers, 0), valid, CONFIG, folder).train(False)
    return twin


def exported_twin(folder: Path) -> Path:
    """Trains a twin and exports it; returns its version folder."""
    offers = some_offers()
    warmup = [[offer.product for offer in offers[:8]], [offer.title for offer in offers[:8]]]
    twin = trained_twin(folder / "training")
    return export(twin, folder / "tiny_twin", scale=1.0, bias=0.0, warmup=warmup, fingerprint="tiny")
