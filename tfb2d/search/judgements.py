"""Judged queries: what searches of an index are measured by."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.files import expand
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.task import name
from tfb2d.errors import DataError
from tfb2d.evaluation.retrieval import RetrievalFigures, measure_retrieval
from tfb2d.search.answer import Answer, SearchError
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.searcher import Searcher

Hits = list[tuple[str, float]]  # key and score, as `measure_retrieval` takes them


@dataclass(frozen=True)
class Judgements:
    """Holds what people said of titles."""

    gains: Mapping[str, Mapping[str, float]]  # query -> key -> grade. A key is a title's id, or its text
    by_id: bool  # whether keys are ids
    rejected: int = 0  # rows that could not be used
    missing: int = 0  # judged titles that the catalogue does not have; they are no part of `gains`


class Columns(NamedTuple):
    """Says where judged rows are; see `titles.Source`."""

    files: Sequence[str]
    query: str
    id: str
    title: str
    label: str
    quoting: str
    max_rejected: float


def read_judgements(columns: Columns, catalogue: Catalogue) -> Judgements:
    """Reads judged (query, title, label) rows; of a pair that is judged several times the highest label counts.

    With a column of ids titles are known by id, else by their text. Raises DataError for files that cannot be used, too
    many bad rows, or no query with a relevant title in the catalogue.
    """
    rejects = Rejects(None, columns.max_rejected)
    gains: dict[str, dict[str, float]] = {}
    rows = 0
    rejects.begin()
    texts = (columns.query,) if columns.id else (columns.query, columns.title)
    for path in expand(columns.files):
        for row in read_checked_rows(
            path, texts, rejects, numbers=(columns.label,), others=(columns.id,) if columns.id else (),
            lowest=0.0, reading=Reading(quoting=columns.quoting),
        ):  # fmt: skip
            rows += 1
            key = name(row.others[0]) if columns.id else row.texts[1].strip()
            if not key:
                rejects.add(path, row.number, columns.id or columns.title, "empty id" if columns.id else "empty text")
                continue
            of_query = gains.setdefault(row.texts[0].strip(), {})
            of_query[key] = max(row.numbers[0], of_query.get(key, 0.0))
    rejects.check(max(rows + rejects.count, 1))
    judged_keys = {key for of_query in gains.values() for key in of_query}
    known = {key for keys in _keys(catalogue, bool(columns.id)) for key in keys if key in judged_keys}
    present = {
        query: {key: gain for key, gain in of_query.items() if key in known} for query, of_query in gains.items()
    }
    if not any(gain > 0 for of_query in present.values() for gain in of_query.values()):
        what = "id" if columns.id else "title"
        raise DataError(f"{', '.join(columns.files)}: no relevant {what} of these rows is in the index")
    missing = sum(len(of_query) for of_query in gains.values()) - sum(len(each) for each in present.values())
    return Judgements(present, bool(columns.id), rejects.count, missing)


def measure(
    searcher: Searcher,
    judgements: Judgements,
    *,
    recall_at: Sequence[int],
    retrieve: int,
    seed: int = 0,
    only: Sequence[str] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, RetrievalFigures]:
    """Measures random order, each leg, both fused, and the ranked titles, if the searcher has a ranker.

    `recall_at` are ranks, `retrieve` is how many fused titles are ranked, `seed` is of the random order. `only` names
    the ways to measure, None takes all. `tick` is called after each query. Raises SearchError where a leg or the ranker
    did not answer: a figure without it would be wrong.
    """
    depth = max((*recall_at, 10))
    hits: dict[str, dict[str, Hits]] = {}
    generator = np.random.default_rng(seed)
    ways: dict[str, Callable[[str], Hits]] = {
        "random": lambda query: _random_hits(searcher, generator, depth, judgements.by_id),
        "bm25": lambda query: search_hits(query, legs=("bm25",), rank=False),
        "twin": lambda query: search_hits(query, legs=("twin",), rank=False),
        "both": lambda query: search_hits(query, rank=False),
    }
    if searcher.ranks:
        ways["ranked"] = lambda query: search_hits(query, k=retrieve, retrieve=retrieve)

    def search_hits(query: str, **settings: Any) -> Hits:
        return _hits(searcher.search(query, **{"k": depth, "retrieve": depth, **settings}), judgements.by_id)

    for query in judgements.gains:
        for way, search in ways.items():
            if only is None or way in only:
                hits.setdefault(way, {})[query] = search(query)
        tick()
    return {way: measure_retrieval(judgements.gains, each, recall_at=recall_at) for way, each in hits.items()}


def _hits(answer: Answer, by_id: bool) -> Hits:
    """Returns an answer's hits by key; of titles with the same text the first counts."""
    if problems := [note for note in answer.notes if "did not answer" in note]:
        raise SearchError(problems[0])
    scores: dict[str, float] = {}
    for hit in answer.hits:
        scores.setdefault(hit.id if by_id else hit.title.strip(), hit.score)
    return list(scores.items())


def _random_hits(searcher: Searcher, generator: np.random.Generator, depth: int, by_id: bool) -> Hits:
    catalogue = searcher.catalogue
    live = catalogue.live_rows()
    rows = generator.choice(live, min(depth, len(live)), replace=False)
    keys = catalogue.ids(rows) if by_id else [title.strip() for title in catalogue.titles(rows)]
    return [(key, -float(position)) for position, key in enumerate(dict.fromkeys(keys))]


def _keys(catalogue: Catalogue, by_id: bool) -> Iterator[list[str]]:
    for start, ids, titles in catalogue.all_ids():
        live = ~catalogue.deleted[start : start + len(ids)]
        yield [key.strip() for key, alive in zip(ids if by_id else titles, live.tolist(), strict=True) if alive]
