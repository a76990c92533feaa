"""Two stages in one call: BM25 and a twin retrieve titles, a student ranks them."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.best import Floats, Rows, best_rows
from tfb2d.errors import UserError
from tfb2d.search.answer import Answer, Hit, SearchError
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.fusion import fuse, ranks
from tfb2d.search.models import Model
from tfb2d.search.snapshot import Snapshot

LEGS = ("bm25", "twin")
MAX_QUERY = 1000  # characters; the rest of a longer query is not searched for
_SAMPLES = 8


class Searcher:
    """Searches an index; `open` makes one. Threads may share it. An update of the index is seen by the next search."""

    def __init__(self, index: Path, twin: Model, ranker: Model | None) -> None:
        self.index = index
        self._twin, self._ranker = twin, ranker
        self._lock = threading.Lock()
        self._snapshot = Snapshot.open(index)

    @classmethod
    def open(cls, index_folder: str | Path, *, twin: str | Model = "", ranker: str | Model = "") -> "Searcher":
        """Opens an index.

        Args:
          index_folder: what `tfb2d search build` wrote.
          twin: the model that embeds queries: an exported model's folder, "host:port/name" of a server, or a Model
            with a timeout of its own, which the searcher closes. By default the one that the index was built with.
          ranker: the student that ranks what was found, given in the same way; "" leaves the second stage out.

        Raises:
          SearchError: there is no whole index, or the twin is another one than it was built with.
          UserError: there is no such model.
        """
        index = Path(index_folder)
        made_by = Snapshot.open(index).manifest.model
        try:
            model = twin if isinstance(twin, Model) else Model(twin or made_by.model)
            identity = model.identity()
        except UserError as error:
            hint = "" if twin else f" (the index {index} was built with it; --twin names its folder now)"
            raise SearchError(f"the twin cannot be asked: {error}{hint}") from error
        made_by.check(identity)
        second = (Model(ranker) if ranker else None) if isinstance(ranker, str) else ranker
        if second is not None:
            second.check_ranks()
        searcher = cls(index, model, second)
        searcher._warm_up()
        return searcher

    def search(
        self, query: str, *, k: int = 10, retrieve: int = 100, legs: Sequence[str] = LEGS, rank: bool = True
    ) -> Answer:
        """Searches for a query.

        Args:
          query: any text. Of a very long one the first MAX_QUERY characters are searched for.
          k: hits to answer.
          retrieve: how many titles each leg finds, and how many of the fused ones are ranked; at least k.
          legs: what retrieves: "bm25", "twin" or both, which are fused by reciprocal rank.
          rank: whether the student ranks, where the searcher has one.

        Returns:
          Answer. A stage that does not answer is left out, and a note says so.

        Raises:
          ValueError: k below 1, or legs that there are not.
          SearchError: no leg answered.
        """
        self._check(k, legs)
        begin = time.perf_counter()
        text, notes = _clean(query)
        snapshot = self._current()
        if not snapshot.catalogue.live:
            notes.append("the catalogue is empty")
        if not text or not snapshot.catalogue.live:
            return Answer(text, (), _total({}, begin), tuple(notes))
        retrieve = max(retrieve, k)
        times: dict[str, float] = {}
        lists = self._retrieve(snapshot, text, retrieve, legs, times, notes)
        with _timed(times, "fuse"):
            rows, scores = fuse(list(lists.values()))
            rows, scores = self._without_deleted(snapshot, rows, scores, notes)
            rows, scores = rows[:retrieve], scores[:retrieve]
            stages = {**lists, "fuse": (rows, scores)}
        if rank and self._ranker is not None and len(rows):
            with _timed(times, "rank"):
                if (ranked := self._rank(snapshot, text, rows, notes)) is not None:
                    stages["rank"] = ranked
                    rows, scores = ranked
        if k > snapshot.catalogue.live:
            notes.append(f"the catalogue has {snapshot.catalogue.live:,} titles, fewer than the {k:,} asked for")
        hits = _hits(snapshot, rows[:k], scores[:k], stages)
        return Answer(text, hits, _total(times, begin), tuple(notes))

    def rank(self, query: str, titles: Sequence[str]) -> Floats:
        """Returns the ranker's scores of any titles for a query, `[n]` from 0 to 1.

        Raises SearchError where nothing ranks here; UserError where the ranker's server does not answer.
        """
        if self._ranker is None:
            raise SearchError("no student ranks here: open the index with ranker=, an exported model")
        return self._ranker.rank(query, titles).astype(np.float64)

    @property
    def ranks(self) -> bool:
        """Says whether a student ranks what was found."""
        return self._ranker is not None

    @property
    def catalogue(self) -> Catalogue:
        """Returns the catalogue as it is now."""
        return self._current().catalogue

    def describe(self) -> dict[str, Any]:
        """Returns what is searched.

        Returns:
          `{"titles", "index", "backend", "dim", "dtype", "version", "twin": {"model", "version"}, "ranker": the same or
          None, "samples": some titles, "notes"}`.
        """
        snapshot = self._current()
        manifest = snapshot.manifest
        live = snapshot.catalogue.live_rows()
        spread = live[np.linspace(0, len(live) - 1, min(_SAMPLES, len(live))).astype(int)] if len(live) else live
        ranker = self._ranker
        return {
            "titles": len(live),
            "index": str(self.index),
            "backend": manifest.backend,
            "dim": manifest.dim,
            "dtype": manifest.dtype,
            "version": manifest.version,
            "twin": {"model": self._twin.name, "version": self._twin.version},
            "ranker": {"model": ranker.name, "version": ranker.version} if ranker else None,
            "samples": snapshot.catalogue.titles(spread),
            "notes": snapshot.advice(),
        }

    def close(self) -> None:
        """Closes connections and files."""
        self._twin.close()
        if self._ranker is not None:
            self._ranker.close()
        self._snapshot.close()

    def __enter__(self) -> "Searcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _warm_up(self) -> None:
        """Answers a query, so that the first user's is not the slow one: models are traced, files are mapped."""
        with suppress(SearchError):  # a server that is away now may be back when somebody searches
            self.search("a", k=1, rank=self._ranker is not None and not self._ranker.is_remote)

    def _check(self, k: int, legs: Sequence[str]) -> None:
        if k < 1:
            raise ValueError(f"k is {k}; it must be 1 or more")
        wrong = [leg for leg in legs if leg not in LEGS]
        if wrong or not legs:
            raise ValueError(f"legs are {', '.join(legs) or 'none'}; there are {' and '.join(LEGS)}")

    def _current(self) -> Snapshot:
        """Returns the index as it is now; opens it anew where it was updated."""
        if self._snapshot.is_current():
            return self._snapshot
        with self._lock:
            if not self._snapshot.is_current():
                fresh = Snapshot.open(self.index)
                fresh.manifest.model.check(self._snapshot.manifest.model)
                self._snapshot = fresh  # the old one is closed once no search uses it
            return self._snapshot

    def _retrieve(
        self, snapshot: Snapshot, text: str, k: int, legs: Sequence[str], times: dict[str, float], notes: list[str]
    ) -> dict[str, tuple[Rows, Floats]]:
        lists: dict[str, tuple[Rows, Floats]] = {}
        problems = []
        if "bm25" in legs:
            with _timed(times, "bm25"):
                lists["bm25"] = snapshot.lexical.search(text, k)
            if not len(lists["bm25"][0]):
                notes.append("BM25 found no title with a word of the query")
        if "twin" in legs:
            try:
                with _timed(times, "embed"):
                    vector = self._twin.query(text)
                with _timed(times, "twin"):
                    lists["twin"] = snapshot.nearest(vector, k)
            except UserError as error:  # its server, or the index's
                problems.append(f"the twin did not answer: {error}")
        if problems and not lists:
            raise SearchError("; ".join(problems))
        notes.extend(problems)
        return lists

    def _without_deleted(self, snapshot: Snapshot, rows: Rows, scores: Floats, notes: list[str]) -> tuple[Rows, Floats]:
        """Leaves out titles that were deleted or replaced since this search began."""
        if snapshot.is_current():
            return rows, scores
        gone = snapshot.gone_since(rows)
        if gone.any():
            notes.append(f"{gone.sum()} titles were deleted or replaced while this query was answered")
        return rows[~gone], scores[~gone]

    def _rank(self, snapshot: Snapshot, text: str, rows: Rows, notes: list[str]) -> tuple[Rows, Floats] | None:
        assert self._ranker is not None
        try:
            scores = self._ranker.rank(text, snapshot.catalogue.titles(rows))
        except UserError as error:
            notes.append(f"not ranked, in the order of the first stage: the ranker did not answer: {error}")
            return None
        places, best = best_rows(np.arange(len(rows)), scores, len(rows))  # ties keep the first stage's order
        return rows[places], best


def _hits(snapshot: Snapshot, rows: Rows, scores: Floats, stages: dict[str, tuple[Rows, Floats]]) -> tuple[Hit, ...]:
    of_row: dict[int, dict[str, tuple[int, float]]] = {int(row): {} for row in rows}
    for name, (rows_of_stage, values) in stages.items():
        for row, rank, value in zip(rows_of_stage.tolist(), ranks(values).tolist(), values.tolist(), strict=True):
            if row in of_row:
                of_row[row][name] = (rank, value)
    ids, titles = snapshot.catalogue.ids(rows), snapshot.catalogue.titles(rows)
    return tuple(
        Hit(key, title, float(score), of_row[int(row)])
        for row, key, title, score in zip(rows, ids, titles, scores, strict=True)
    )


def _clean(query: str) -> tuple[str, list[str]]:
    """Returns a query as it is searched for, and notes of what was changed."""
    notes = []
    text = query.strip()
    if len(text) > MAX_QUERY:
        text = text[:MAX_QUERY].rstrip()
        notes.append(f"the query has {len(query):,} characters; its first {MAX_QUERY:,} were searched for")
    usable = text.encode("utf-8", "replace").decode().replace("\0", " ").strip()  # lone surrogates, NUL
    if usable != text:
        notes.append("the query held characters that are no text")
    if not usable:
        notes.append("the query is empty")
    return usable, notes


@contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        times[name] = (time.perf_counter() - begin) * 1e3


def _total(times: dict[str, float], begin: float) -> dict[str, float]:
    return {**times, "total": (time.perf_counter() - begin) * 1e3}
