"""Measures one index on one core, in a process of its own."""

import importlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.evaluation.latency import percentiles
from tfb2d.search.answer import SearchError
from tfb2d.search.fusion import fuse
from tfb2d.search.models import Model
from tfb2d.search.searcher import Searcher
from tfb2d.search.snapshot import Snapshot

KS = (10, 100, 200, 1000)
DEPTH = 100  # titles that are retrieved and ranked
_WARM = 20  # queries that are not measured
_WARM_PEER, _PEER_QUERIES = 2, 30  # a cross-encoder takes a third of a second each


@dataclass(frozen=True)
class Task:
    """Says what is measured of an index."""

    index: Path  # its folder
    vectors: Path  # a .npy file of query vectors, float32 `[queries, dim]`
    truth: Path  # a .npy file of the rows that exact search finds, `[queries, 1000]`; written where it is missing
    queries: Sequence[str]  # texts
    # twin, ranker: exported models' folders; "" leaves their part out
    twin: str = ""
    ranker: str = ""
    is_base: bool = False  # whether it is the index whose BM25 and query encoding stand for those of all
    # Arguments of `bench.onnx_bert.open_onnx` for a cross-encoder to rank with instead; {} leaves it out
    peer: Mapping[str, Any] = field(default_factory=dict)
    ef_search: Sequence[int] = ()  # further settings of HNSW to measure


def run_on_one_core(task: Task) -> dict[str, Any]:
    """Does a task in a process bound to one core; raises SearchError where that process was killed."""
    core = {max(os.sched_getaffinity(0))}
    # The process is bound before it imports this module, so libraries start a thread each.
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, core)) as process:
        try:
            return process.submit(measure, task).result()
        except BrokenProcessPool as error:
            raise SearchError(f"the process that measured {task.index} was killed: {error}") from error


def measure(task: Task) -> dict[str, Any]:
    """Returns the figures of a task, in JSON's types."""
    for name in ("bm25s", "faiss"):  # whose code is not the index's memory
        importlib.import_module(name)
    before = _memory()
    begin = time.perf_counter()
    snapshot = Snapshot.open(task.index)
    figures: dict[str, Any] = {"open_ms": (time.perf_counter() - begin) * 1e3}
    vectors, queries = np.load(task.vectors), task.queries
    snapshot.nearest(vectors[0], DEPTH)
    figures["memory_mb"] = {name: value - before[name] for name, value in _memory().items()}
    if not task.truth.exists():
        np.save(task.truth, np.array([snapshot.nearest(vector, max(KS))[0] for vector in vectors]))
    exact = np.load(task.truth)
    figures["ways"] = {}
    inner = getattr(snapshot.backend, "parameters", {})  # exact search has none
    for ef in [inner.get("ef_search"), *task.ef_search]:
        if ef is not None:
            inner["ef_search"] = ef
        name = "twin" if ef is None else f"twin, ef_search {ef}"
        figures["ways"][name] = _way(lambda at, k: snapshot.nearest(vectors[at], k)[0], exact)
    if task.is_base:

        def both(at: int, k: int) -> Any:
            return fuse([snapshot.lexical.search(queries[at], k), snapshot.nearest(vectors[at], k)])[0][:k]

        figures["ways"]["bm25"] = _way(lambda at, k: snapshot.lexical.search(queries[at], k)[0], exact)
        figures["ways"]["both"] = _way(both, exact)
    snapshot.close()
    if task.twin:
        figures["two_stages"] = _two_stages(task)
        if task.peer:
            figures["two_stages"]["both, ranked by the cross-encoder"] = _with_peer(task)
        if task.is_base:
            figures["query_encoding"] = _encoding(task)
    return figures


def _way(search: Callable[[int, int], Any], exact: Any) -> dict[str, Any]:
    """Returns recall against the exact rows at each of KS, and milliseconds at DEPTH."""
    figures: dict[str, Any] = {}
    for k in KS:
        shares = [len(np.intersect1d(search(at, k), rows[:k])) / min(k, len(rows)) for at, rows in enumerate(exact)]
        figures[f"recall@{k}"] = float(np.mean(shares))
    figures["ms"] = percentiles([_milliseconds(partial(search, at, DEPTH)) for at in range(len(exact))])
    return figures


def _two_stages(task: Task) -> dict[str, Any]:
    """Returns milliseconds by part of a whole search, strings in, for the twin alone and for both legs."""
    with Searcher.open(task.index, twin=task.twin, ranker=task.ranker) as searcher:

        def search(legs: Sequence[str], query: str) -> Mapping[str, float]:
            return searcher.search(query, retrieve=DEPTH, legs=legs).milliseconds

        ways = {"twin": ("twin",), "both": ("bm25", "twin")}
        return {name: _by_part(partial(search, legs), task.queries, _WARM) for name, legs in ways.items()}


def _with_peer(task: Task) -> dict[str, Any]:
    """Returns milliseconds by part of a search whose second stage is a cross-encoder in ONNX Runtime, strings in."""
    from tfb2d.bench.onnx_bert import open_onnx

    encoder = open_onnx(**task.peer)
    with Searcher.open(task.index, twin=task.twin) as searcher:

        def search(query: str) -> Mapping[str, float]:
            answer = searcher.search(query, k=DEPTH, retrieve=DEPTH)
            rank = _milliseconds(lambda: encoder.rank(query, [hit.title for hit in answer.hits]))
            retrieve = answer.milliseconds["total"]
            return {"retrieve": retrieve, "rank": rank, "total": retrieve + rank}

        return _by_part(search, task.queries[:_PEER_QUERIES], _WARM_PEER)


def _encoding(task: Task) -> dict[str, Any]:
    """Returns milliseconds of one query's encoding, strings in: a session run as a server does it, and from Python."""
    from tfb2d.bench.students import Session
    from tfb2d.model_folder import version_folder

    with closing(Session(str(version_folder(task.twin)), ())) as session, closing(Model(task.twin)) as model:

        def encode(query: str) -> Mapping[str, float]:
            by_session = _milliseconds(lambda: session.embed_query([query]))
            return {"session": by_session, "python": _milliseconds(lambda: model.query(query))}

        return _by_part(encode, task.queries, _WARM)


def _by_part(work: Callable[[str], Mapping[str, float]], queries: Sequence[str], warm: int) -> dict[str, Any]:
    """Returns p50 and p99 of each part of the milliseconds that queries take, after some that do not count."""
    for query in queries[:warm]:
        work(query)
    times = [work(query) for query in queries]
    return {part: percentiles([each[part] for each in times if part in each]) for part in dict.fromkeys(chain(*times))}


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def _memory() -> dict[str, float]:
    """Returns this process's memory in 10^6 bytes: what it has of its own, and what it has mapped of files (Linux)."""
    status = Path("/proc/self/status").read_text()
    names = {"own": "RssAnon", "mapped": "RssFile"}
    return {name: int(re.search(rf"{key}:\s+(\d+)", status)[1]) * 1024 / 1e6 for name, key in names.items()}  # type: ignore[index]
