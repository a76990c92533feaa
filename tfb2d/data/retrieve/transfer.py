"""Adds pairs made of queries and titles to the transfer set."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfb2d.config import DataConfig
from tfb2d.data.keys import near_key, text_key
from tfb2d.data.rejects import Rejects
from tfb2d.data.retrieve.pairs import unlabelled_pairs
from tfb2d.data.retrieve.sources import read_source
from tfb2d.data.tables import iter_batches
from tfb2d.data.transfer import TransferSet
from tfb2d.errors import DataError

HELD_OUT = ("valid", "test")
_log = logging.getLogger(__name__)


def add_made_pairs(
    transfer: TransferSet, data: DataConfig, splits: Path, rejects: Rejects, progress: bool
) -> dict[str, Any]:
    """Adds pairs of `data.queries` and `data.titles`, or of the labelled training rows' own texts.

    Args:
      transfer: takes the pairs, and leaves out what is held out or there already.
      data: the settings.
      splits: the folder of the finished splits.
      rejects: gets the rows of the files that cannot be used.
      progress: whether to show a bar on stderr.

    Returns:
      Counts for `stats.json`: see `unlabelled_pairs`; and `pairs`, those that the transfer set took.

    Raises:
      DataError: a file that cannot be used, or files in which every query is held out.
    """
    queries, titles = (
        read_source(files, field, data, rejects) if files else _texts(splits / "train", field)
        for files, field in zip((data.queries, data.titles), data.fields, strict=True)
    )
    held = HeldOutQueries(data, splits)
    counts: Counter[str] = Counter()
    before = transfer.rows
    pairs = unlabelled_pairs(queries, titles, data.retrieve, held.has, counts)
    transfer.add_pairs(tqdm(pairs, desc="make pairs", unit=" pairs", unit_scale=True, disable=not progress))
    if not counts["queries"]:
        files, held_out = ", ".join(data.queries), "every query is one of the validation or test split"
        if files:
            raise DataError(f"{files}: {held_out}; there is none to make pairs of")
        _log.warning("no pairs are made of the labelled training rows: %s", held_out)
    return {**dict(sorted(counts.items())), "pairs": transfer.rows - before}


class HeldOutQueries:
    """Holds the queries of the valid and test splits, and says whether another query has the same words as one of them.

    Args:
      data: the settings.
      splits: the folder of the finished splits.
    """

    def __init__(self, data: DataConfig, splits: Path) -> None:
        queries = {query for split in HELD_OUT for query in _texts(splits / split, data.fields[0])}
        self._keys = {key(query) for query in queries for key in (text_key, near_key)}

    def has(self, query: str) -> bool:
        """Says whether a query is held out, by its `text_key` or its `near_key`."""
        return text_key(query) in self._keys or near_key(query) in self._keys


def _texts(table: Path, field: str) -> list[str]:
    """Returns the distinct texts of a table's column that are not blank, in order."""
    texts: dict[str, None] = {}
    for batch in iter_batches(table, [field]):
        texts.update(dict.fromkeys(text for text in batch.column(0).to_pylist() if text.strip()))
    return list(texts)
