"""Measures one index on one core, in a process of its own: `python -m tfb2d.search.measure_index TASK.json`.

The file holds a `Task`; the figures go beside it.
"""

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

KS = (10, 100, 200, 1000)
DEPTH = 100  # titles that are retrieved and ranked
_WARM = 20  # queries that are not measured
_WARM_PEER, _PEER_QUERIES = 2, 30  # a cross-encoder takes a third of a second each
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@dataclass(frozen=True)
class Task:
    """Says what is measured of an index.

    Attributes:
      index: its folder.
      vectors: a .npy file of query vectors, float32 `[queries, dim]`.
      truth: a .npy file of the rows that exact search finds, `[queries, 1000]`; written where it is missing.
      queries: texts.
      twin, ranker: exported models' folders; "" leaves their part out.
      bm25: whether to measure BM25, and both legs fused, as well.
      encoding: whether to time the twin's encoding of a query.
      peer: arguments of `bench.onnx_bert.open_onnx` for a cross-encoder to rank with instead; {} leaves it out.
      ef_search: further settings of HNSW to measure.
    """

    index: str
    vectors: str
    truth: str
    queries: Sequence[str]
    twin: str = ""
    ranker: str = ""
    bm25: bool = False
    encoding: bool = False
    peer: Mapping[str, Any] = field(default_factory=dict)
    ef_search: Sequence[int] = ()


def run_on_one_core(task: Task, path: Path) -> dict[str, Any]:
    """Runs a task in a process of its own, bound to one core; returns its figures.

    Args:
      task: what to measure.
      path: the JSON file to write the task to; the figures are written beside it.

    Raises:
      SearchError: the process failed; the message has the end of what it wrote.
    """
    import subprocess

    from tfb2d.atomic import write_json
    from tfb2d.search.answer import SearchError

    write_json(path, asdict(task))
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "tfb2d.search.measure_index", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SearchError(f"measuring {task.index} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(_answer(path).read_text())
    return figures


def measure(task: Task) -> dict[str, Any]:
    """Returns the figures of a task, in JSON's types."""
    import numpy as np

    from tfb2d.search.snapshot import Snapshot

    for name in ("bm25s", "faiss", "pyarrow"):  # whose code is not the index's memory
        importlib.import_module(name)
    before = _memory()
    begin = time.perf_counter()
    snapshot = Snapshot.open(Path(task.index))
    figures: dict[str, Any] = {"open_ms": (time.perf_counter() - begin) * 1e3}
    vectors, queries, truth = np.load(task.vectors), task.queries, Path(task.truth)
    snapshot.nearest(vectors[0], DEPTH)
    figures["memory_mb"] = {name: value - before[name] for name, value in _memory().items()}
    if not truth.exists():
        rows = [snapshot.nearest(vector, max(KS))[0] for vector in vectors]
        np.save(truth, np.array(rows))
    exact = np.load(truth)
    figures["ways"] = {}
    inner = getattr(snapshot.backend, "parameters", {})  # exact search has none
    for ef in [inner.get("ef_search"), *task.ef_search]:
        if ef is not None:
            inner["ef_search"] = ef
        name = "twin" if ef is None else f"twin, ef_search {ef}"
        figures["ways"][name] = _way(lambda at, k: snapshot.nearest(vectors[at], k)[0], exact)
    if task.bm25:
        from tfb2d.search.fusion import fuse

        def both(at: int, k: int) -> Any:
            return fuse([snapshot.lexical.search(queries[at], k), snapshot.nearest(vectors[at], k)])[0][:k]

        figures["ways"]["bm25"] = _way(lambda at, k: snapshot.lexical.search(queries[at], k)[0], exact)
        figures["ways"]["both"] = _way(both, exact)
    snapshot.close()
    if task.twin:
        figures["two_stages"] = _two_stages(task)
        if task.peer:
            figures["two_stages"]["both, ranked by the cross-encoder"] = _with_peer(task)
        if task.encoding:
            figures["query_encoding"] = _encoding(task)
    return figures


def _way(search: Callable[[int, int], Any], exact: Any) -> dict[str, Any]:
    """Returns recall against the exact rows at each of KS, and milliseconds at DEPTH."""
    import numpy as np

    figures: dict[str, Any] = {}
    for k in KS:
        shares = [len(np.intersect1d(search(at, k), rows[:k])) / min(k, len(rows)) for at, rows in enumerate(exact)]
        figures[f"recall@{k}"] = float(np.mean(shares))
    figures["ms"] = percentiles([_milliseconds(partial(search, at, DEPTH)) for at in range(len(exact))])
    return figures


def _two_stages(task: Task) -> dict[str, Any]:
    """Returns milliseconds by part of a whole search, strings in, for the twin alone and for both legs."""
    from tfb2d.search.searcher import Searcher

    figures = {}
    with Searcher.open(task.index, twin=task.twin, ranker=task.ranker) as searcher:
        for name, legs in (("twin", ("twin",)), ("both", ("bm25", "twin"))):
            for query in task.queries[:_WARM]:
                searcher.search(query, retrieve=DEPTH, legs=legs)
            parts: dict[str, list[float]] = {}
            for query in task.queries:
                for part, value in searcher.search(query, retrieve=DEPTH, legs=legs).milliseconds.items():
                    parts.setdefault(part, []).append(value)
            figures[name] = {part: percentiles(values) for part, values in parts.items()}
    return figures


def _with_peer(task: Task) -> dict[str, Any]:
    """Returns milliseconds by part of a search whose second stage is a cross-encoder in ONNX Runtime, strings in."""
    from tfb2d.bench.onnx_bert import open_onnx
    from tfb2d.search.searcher import Searcher

    encoder = open_onnx(**task.peer)
    parts: dict[str, list[float]] = {"retrieve": [], "rank": [], "total": []}
    with Searcher.open(task.index, twin=task.twin) as searcher:
        for at, query in enumerate([*task.queries[:_WARM_PEER], *task.queries[:_PEER_QUERIES]]):
            begin = time.perf_counter()
            titles = [hit.title for hit in searcher.search(query, k=DEPTH, retrieve=DEPTH).hits]
            middle = time.perf_counter()
            encoder.rank(query, titles)
            end = time.perf_counter()
            if at >= _WARM_PEER:
                for part, value in (("retrieve", middle - begin), ("rank", end - middle), ("total", end - begin)):
                    parts[part].append(value * 1e3)
    return {part: percentiles(values) for part, values in parts.items()}


def _encoding(task: Task) -> dict[str, Any]:
    """Returns milliseconds of one query's encoding, strings in: a session run as a server does it, and from Python."""
    from tfb2d.bench.students import Session
    from tfb2d.model_folder import version_folder
    from tfb2d.search.models import Model

    session, model = Session(str(version_folder(task.twin)), ()), Model(task.twin)
    ways = {"session": lambda query: session.embed_query([query]), "python": model.query}
    figures = {}
    for name, encode in ways.items():
        for query in task.queries[:_WARM]:
            encode(query)
        figures[name] = percentiles([_milliseconds(partial(encode, query)) for query in task.queries])
    session.close()
    model.close()
    return figures


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Returns p50 and p99."""
    import numpy as np

    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def _memory() -> dict[str, float]:
    """Returns this process's memory in 10^6 bytes: what it has of its own, and what it has mapped of files (Linux)."""
    status = Path("/proc/self/status").read_text()
    names = {"own": "RssAnon", "mapped": "RssFile"}
    return {name: int(re.search(rf"{key}:\s+(\d+)", status)[1]) * 1024 / 1e6 for name, key in names.items()}  # type: ignore[index]


def _answer(task: Path) -> Path:
    return task.with_suffix(".figures.json")


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before any library starts its threads
    from tfb2d.atomic import write_json as write
    from tfb2d.cli.terminal import quiet

    with quiet():
        write(_answer(Path(sys.argv[1])), measure(Task(**json.loads(Path(sys.argv[1]).read_text()))))
