"""Pairs every query with the titles that BM25 ranks first, with near misses, and with random titles."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfb2d.config import RetrieveConfig
from tfb2d.data.keys import hash64
from tfb2d.data.retrieve.retriever import Retriever
from tfb2d.data.retrieve.title_queries import title_queries

WINDOW = 20  # near misses are drawn from this many times their number of titles, those that rank next


def unlabelled_pairs(
    queries: Sequence[str],
    titles: Sequence[str],
    config: RetrieveConfig,
    is_held_out: Callable[[str], bool],
    counts: Counter[str],
) -> Iterator[tuple[str, str]]:
    """Yields pairs, query by query.

    A query's pairs depend on the query, the titles and the seed alone. Nothing but the titles, their index and the
    queries is held in memory.

    Args:
      queries: distinct texts.
      titles: distinct texts.
      config: how many pairs of which kind.
      is_held_out: says whether a query belongs to a held-out split; such queries are left out.
      counts: gets `queries` and `titles`, those that were used; `held_out_queries`, left out; `title_queries`, made of
        titles; `nearest`, `near_misses` and `random`: pairs by kind.
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
