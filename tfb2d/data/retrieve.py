"""Makes unlabelled (query, title) pairs of queries and titles, for users who log no pairs.

Every query is paired with the titles that BM25 ranks first, with near misses, and with random titles. Queries come from
files, from the labelled training rows, or are made of titles' words. BM25 is bm25s (Lù 2024, arXiv 2407.03618), with its
defaults k1 = 1.5, b = 0.75 and Lucene's form. Words are cut between letters and digits: `64gb` shares both parts with
`64 gb`, and a model code shares its beginning with its neighbours' codes.
"""

import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tfb2d.best import best_rows
from tfb2d.config import DataConfig, RetrieveConfig
from tfb2d.data.files import expand
from tfb2d.data.keys import hash64, near_key, text_key
from tfb2d.data.lines import decode, read_lines, too_long
from tfb2d.data.readers import read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Row, check_texts
from tfb2d.data.tables import iter_batches
from tfb2d.data.transfer import TransferSet
from tfb2d.errors import DataError
from tfb2d.imports import import_bm25s

WINDOW = 20  # near misses are drawn from this many times their number of titles, those that rank next
WHOLE_RUN = 0.5  # share of the queries made of titles that are consecutive words; the others leave words out in between
REORDERED = 0.25
LINES = (".txt", ".txt.gz", ".txt.zst")  # endings of files with one text a line and no header
_log = logging.getLogger(__name__)
_PIECE = re.compile(r"[^\W\d_]+|\d+")


def add_made_pairs(
    transfer: TransferSet, data: DataConfig, splits: Path, rejects: Rejects, progress: bool
) -> dict[str, Any]:
    """Adds pairs of `data.queries` and `data.titles`, or of the labelled rows in the finished `splits`, to `transfer`.

    `transfer` leaves out what is held out or there already; `rejects` gets the rows of files that cannot be used.
    Returns counts for `stats.json`: see `unlabelled_pairs`; and `pairs`, those that the transfer set took. Raises
    DataError for a file that cannot be used, or files in which every query is held out.
    """
    queries, titles = (
        _read_source(files, field, data, rejects) if files else _texts(splits / "train", field)
        for files, field in zip((data.queries, data.titles), data.fields, strict=True)
    )
    held = {query for split in ("valid", "test") for query in _texts(splits / split, data.fields[0])}
    keys = {key(query) for query in held for key in (text_key, near_key)}
    counts: Counter[str] = Counter()
    before = transfer.rows
    pairs = unlabelled_pairs(
        queries, titles, data.retrieve, lambda query: text_key(query) in keys or near_key(query) in keys, counts
    )
    transfer.add_pairs(tqdm(pairs, desc="make pairs", unit=" pairs", unit_scale=True, disable=not progress))
    if not counts["queries"]:
        files, held_out = ", ".join(data.queries), "every query is one of the validation or test split"
        if files:
            raise DataError(f"{files}: {held_out}; there is none to make pairs of")
        _log.warning("no pairs are made of the labelled training rows: %s", held_out)
    return {**dict(sorted(counts.items())), "pairs": transfer.rows - before}


def unlabelled_pairs(
    queries: Sequence[str],
    titles: Sequence[str],
    config: RetrieveConfig,
    is_held_out: Callable[[str], bool],
    counts: Counter[str],
) -> Iterator[tuple[str, str]]:
    """Yields pairs of distinct `queries` and `titles`, query by query, without the queries that `is_held_out`.

    A query's pairs depend on the query, the titles and the seed alone. `counts` gets `queries` and `titles`, those that
    were used; `held_out_queries`, left out; `title_queries`, made of titles; `nearest`, `near_misses` and `random`:
    pairs by kind.
    """
    per_query = config.nearest + config.near_misses + config.random
    most = max(1, config.pairs // per_query)
    own = [query for query in queries if not is_held_out(query)]
    counts["held_out_queries"] += len(queries) - len(own)
    chosen = _sample(own, most, config.seed)
    made = _made(own, titles, most - len(chosen), config, is_held_out)
    counts.update({"queries": len(chosen), "title_queries": len(made), "titles": len(titles)})
    retriever = Retriever(titles)
    for query in (*chosen, *made):
        for kind, index in _titles_for(query, retriever, len(titles), config):
            counts[kind] += 1
            yield query, titles[index]


class Retriever:
    """Indexes n titles in memory: about 12 bytes a distinct word of a title, beside the titles themselves."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._ids: dict[str, int] = {}
        documents = [[self._ids.setdefault(word, len(self._ids)) for word in pieces(title)] for title in titles]
        self._index = None
        if self._ids:  # BM25.index fails on titles without a single word
            self._index = import_bm25s().BM25()
            self._index.index((documents, self._ids), show_progress=False)

    def nearest(self, query: str, k: int) -> np.ndarray:
        """Returns the indices of at most `k` titles that share a word with the query, best first, int64.

        Of equally good titles the one with the lower index is first.
        """
        known = [self._ids[word] for word in dict.fromkeys(pieces(query)) if word in self._ids]
        if self._index is None or not known:  # get_scores fails on an empty list
            return np.zeros(0, np.int64)
        scores = self._index.get_scores(known)
        sharing = np.flatnonzero(scores > 0)
        return best_rows(sharing, scores[sharing], k)[0]


def pieces(text: str) -> list[str]:
    """Returns a text's runs of letters, lower-cased, and its runs of digits."""
    return _PIECE.findall(text.lower())


def _sample(queries: Sequence[str], most: int, seed: int) -> list[str]:
    """Draws at most `most` queries; which ones depends on each query and the seed, not on the others' order."""
    if len(queries) <= most:
        return list(queries)
    ranks = np.fromiter((hash64(f"{seed}\0query\0{query}") for query in queries), np.uint64, len(queries))
    return [queries[index] for index in np.sort(np.argsort(ranks, kind="stable")[:most])]


def _made(
    queries: Sequence[str],
    titles: Sequence[str],
    room: int,
    config: RetrieveConfig,
    is_held_out: Callable[[str], bool],
) -> list[str]:
    """Makes at most `room` new queries of titles, as long as the users' own."""
    lengths = [len(query.split()) for query in queries]
    if room <= 0 or not lengths:
        return []
    known, made = set(queries), dict[str, None]()
    for query in title_queries(titles, lengths, config.title_queries, config.seed):
        if query not in known and not is_held_out(query):
            made[query] = None
        if len(made) == room:
            break
    return list(made)


def title_queries(titles: Sequence[str], lengths: Sequence[int], turns: int, seed: int) -> Iterator[str]:
    """Yields a query of every title, in random order, then a second one of each, up to `turns`; repeats are possible.

    `lengths` has the number of words of each of the users' queries. A query depends on its title, `lengths`, the turn
    and the seed alone.
    """
    order = random.Random(hash64(f"{seed}\0title queries")).sample(range(len(titles)), len(titles))
    for turn in range(turns):
        for index in order:
            draw = random.Random(hash64(f"{seed}\0{turn}\0{titles[index]}"))
            yield query_of(titles[index], draw.choice(lengths), draw)


def query_of(title: str, length: int, draw: random.Random) -> str:
    """Takes `length` of a title's words, or all where it has fewer."""
    words = title.lower().split()
    size = max(1, min(length, len(words)))
    if draw.random() < WHOLE_RUN:
        start = draw.randint(0, len(words) - size)
        chosen = words[start : start + size]
    else:
        chosen = [words[at] for at in sorted(draw.sample(range(len(words)), size))]
    if draw.random() < REORDERED:
        draw.shuffle(chosen)
    return " ".join(chosen)


def _titles_for(query: str, retriever: Retriever, titles: int, config: RetrieveConfig) -> Iterator[tuple[str, int]]:
    """Yields the kind and the index of each of a query's titles."""
    rng = np.random.default_rng(hash64(f"{config.seed}\0pairs\0{query}"))
    ranked = retriever.nearest(query, config.nearest + WINDOW * config.near_misses)
    below = ranked[config.nearest :]
    drawn = rng.choice(below, min(config.near_misses, len(below)), replace=False, shuffle=False)
    kinds = dict.fromkeys(ranked[: config.nearest].tolist(), "nearest") | dict.fromkeys(drawn.tolist(), "near_misses")
    for index in rng.integers(0, titles, config.random).tolist():
        kinds.setdefault(index, "random")
    for index, kind in kinds.items():
        yield kind, index


def _read_source(files: Sequence[str], field: str, data: DataConfig, rejects: Rejects) -> list[str]:
    """Reads the distinct texts of tables' column `field` or of `.txt` files, in order, without spaces around them.

    Raises DataError for a file that cannot be used, no text at all, or too many rejected rows.
    """
    texts: dict[str, None] = {}
    rows = 0
    rejects.begin()
    for path in expand(files):
        for row in _source_rows(path, field, data, rejects):
            values = ["" if value is None else value for value in row.values]
            problem = row.problem or check_texts([field], values, data.max_chars)
            rows += row.lines if problem else 1
            if problem:
                rejects.add(path, row.number, *problem, lines=row.lines)
            else:
                rejects.keep(row.lines)
                texts[values[0].strip()] = None
    rejects.check(rows)
    if not texts:
        raise DataError(f"{', '.join(files)}: no {field}")
    return list(texts)


def _source_rows(path: Path, field: str, data: DataConfig, rejects: Rejects) -> Iterator[Row]:
    if not path.name.lower().endswith(LINES):
        yield from read_rows(path, (field,), (), None, data.quoting, rejects.dialects, data.max_chars)
        return
    rejects.dialects[str(path)] = "a text a line"
    try:
        for line in read_lines(path, lambda _: None):
            if line.content.strip():
                yield too_long(line) if line.cut else Row(line.number, (decode(line.content),))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _texts(table: Path, field: str) -> list[str]:
    """Returns the distinct texts of a table's column that are not blank, in order."""
    texts: dict[str, None] = {}
    for batch in iter_batches(table, [field]):
        texts.update(dict.fromkeys(text for text in batch.column(0).to_pylist() if text.strip()))
    return list(texts)
