"""Makes files of pairs from a catalogue: labelled ones for the splits, unlabelled ones for the transfer set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import DataConfig
from tfb2d.data.keys import near_key
from tfb2d.data.offers.catalogue import SPLITS, Product, Titles, cut, read_products
from tfb2d.data.offers.graded_pairs import GradedPairs
from tfb2d.data.offers.labelled_pairs import LabelledPairs, Pair
from tfb2d.data.offers.transfer_pairs import write_transfer
from tfb2d.data.rejects import Rejects
from tfb2d.errors import DataError

TRAIN_CANDIDATES = 8  # titles of a graded training query


def make(data: DataConfig, out: Path, rejects: Rejects) -> tuple[DataConfig, dict[str, Any]]:
    """Writes `train`, `valid`, `test` and `unlabelled` `.parquet` of pairs into `out`.

    Queries are names of products as shoppers type them, and the product's offers are relevant. Irrelevant titles are mostly
    those that share most with the query, then some of the same category, then any. Held-out queries have held-out titles
    alone. Their queries, and titles nearly the same as theirs, do not occur in train or transfer. With `offers.graded`,
    pairs have grades (`GradedPairs`), and `queries.parquet` and `titles.parquet` take the place of `unlabelled.parquet`.

    Args:
      data: `offers` names the files and how many pairs to make.
      out: a folder.
      rejects: gets the offers that cannot be used.

    Returns:
      The settings that read these files, and counts for `stats.json`.

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
    files = {name: out / f"{name}.parquet" for name in (*SPLITS, "unlabelled", "queries", "titles")}
    taken: set[str] = set()  # held-out queries, as sets of words
    for name in ("test", "valid"):
        maker = (GradedPairs if data.offers.graded else LabelledPairs)(data, splits[name], name, taken)
        made = maker.all_candidates(data.offers.queries, data.offers.candidates)
        kinds += maker.kinds
        _write(files[name], data, made)
        queries = {query for query, _, _ in made}
        counts[f"{name}_queries"] = len(queries)
        taken = taken | {near_key(query) for query in queries}
    if data.offers.graded:
        made = _graded_training(data, splits["train"], taken, files, counts)
        data = replace(data, queries=(str(files["queries"]),), titles=(str(files["titles"]),))
    else:
        made = LabelledPairs(data, splits["train"], "train", taken).sampled(data.offers.labelled)
        held = Titles()
        held.add(title for name in ("test", "valid") for product in splits[name] for title in product.titles)
        counts["transfer_pairs"] = write_transfer(files["unlabelled"], data, splits["train"], held, taken, counts)
        data = replace(data, unlabelled=(str(files["unlabelled"]),))
    counts["train_queries"] = len({query for query, _, _ in made})
    _write(files["train"], data, made)
    settings = replace(
        data,
        train=(str(files["train"]),),
        valid=(str(files["valid"]),),
        test=(str(files["test"]),),
        unlabelled_fields=(),
        group=data.fields[0],  # so that `prepare` leaves out held-out queries once more
    )
    return settings, {**dict(sorted(counts.items())), "held_out_queries": dict(sorted(kinds.items()))}


def _graded_training(
    data: DataConfig, products: list[Product], taken: set[str], files: dict[str, Path], counts: Counter[str]
) -> list[Pair]:
    """Makes the graded training pairs; writes queries and titles, of which `data.retrieve` makes unlabelled pairs."""
    per_query = TRAIN_CANDIDATES
    labelled = GradedPairs(data, products, "train", taken)
    made = labelled.all_candidates(-(-data.offers.labelled // per_query), per_query)
    more = GradedPairs(data, products, "transfer", taken)
    queries = [query for *_, query in more.queries(data.offers.transfer_queries)]
    for name, texts in (("queries", queries), ("titles", labelled.titles)):
        field = data.fields[name == "titles"]
        pq.write_table(pa.table({field: pa.array(texts, pa.string())}), files[name])
        counts[f"transfer_{name}"] = len(texts)
    return made


def _write(path: Path, data: DataConfig, pairs: Sequence[Pair]) -> None:
    columns = [*data.fields, data.label]
    types = [pa.string(), pa.string(), pa.float32()]
    values = list(zip(*pairs, strict=True)) or [(), (), ()]
    pq.write_table(pa.table([pa.array(v, t) for v, t in zip(values, types, strict=True)], columns), path)
