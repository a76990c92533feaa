"""Compares indexes for `tfb2d search bench`: makes them, then measures each in a process of its own."""

import hashlib
import logging
import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.atomic import atomic_path
from tfb2d.data.keys import hash64, text_key
from tfb2d.errors import DataError, UserError
from tfb2d.model_folder import megabytes
from tfb2d.outcomes import Outcome
from tfb2d.resume import bring_up, fingerprint, read_record
from tfb2d.search.catalogue import Catalogue
from tfb2d.search.evaluate import columns_of
from tfb2d.search.indexing import build, derive
from tfb2d.search.judgements import Judgements, measure, read_judgements
from tfb2d.search.manifest import Manifest
from tfb2d.search.measure_index import DEPTH, KS, Task, run_on_one_core
from tfb2d.search.models import Model
from tfb2d.search.searcher import Searcher
from tfb2d.search.titles import Source

_LOG = logging.getLogger(__name__)
_PEER_TOKENS = 64  # that the cross-encoder reads of a pair, as teachers of the recipe `search` do
_CHUNK = 20_000  # distractors made at once
_TRIES = 50  # for each, before the real titles are said to be too few to recombine
BASE = "exact-float32"  # the index that all others are measured by


class Comparison:
    """Makes indexes over real titles and distractors, and measures them, by the options of `tfb2d search bench`."""

    def __init__(self, options: Namespace, source: Source) -> None:
        self._options, self._source = options, source
        self._folder = Path(options.workdir)
        self._folder.mkdir(parents=True, exist_ok=True)

    def run(self, indexes: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Returns all figures, in JSON's types."""
        options, base, titles = self._options, self._folder / BASE, self._with_distractors()
        manifest = build(base, titles, options.model, dtype="float32", backend="exact", progress=options.progress)
        made = {BASE: base} | {f"{backend}-{dtype}": self._make(base, backend, dtype) for backend, dtype in indexes}
        judgements = self._judgements(base)
        key = hashlib.sha256("\n".join([manifest.catalogue, *judgements.gains]).encode()).hexdigest()[:8]
        task = Task(
            index=base,
            vectors=self._vectors(list(judgements.gains)),
            truth=self._folder / f"{key}-truth.npy",
            queries=list(judgements.gains),
            twin=options.model,
            ranker=options.ranker,
            peer=self._peer(),
        )
        result: dict[str, Any] = {
            "titles": manifest.live,
            "distractors": options.distractors,
            "queries": len(judgements.gains),
            "model": str(manifest.model),
            "ranker": options.ranker,
            "peer": options.peer,
            "embedded_per_second": manifest.rows / _seconds(base / manifest.catalogue, 0.0),
            "indexes": {},
            "judged": {},
        }
        for name, folder in made.items():
            _LOG.info("measures %s", name)
            ef_search = options.ef_search if name.startswith("hnsw") else []
            figures = run_on_one_core(replace(task, index=folder, is_base=name == BASE, ef_search=ef_search))
            settings = Manifest.read(folder)
            figures["parameters"] = dict(settings.parameters)
            figures["files_mb"] = megabytes(folder / settings.vectors) if settings.vectors else 0.0
            figures["catalogue_mb"] = sum(megabytes(path) for path in folder.glob("catalogue-*/*.arrow"))
            figures["bm25_mb"] = megabytes(folder / settings.lexical)
            figures["rows_per_second"] = manifest.rows / _seconds(folder, math.inf)
            result["indexes"][name] = figures
            result["judged"][name] = self._judged(folder, judgements)
        return result

    def _peer(self) -> dict[str, Any]:
        """Makes the cross-encoder to compare with, if any; its weights are random, since speed does not depend on them.

        Raises UserError where the packages that it needs are missing.
        """
        name = self._options.peer
        if not name:
            return {}
        from tfb2d.bench.onnx_bert import build as build_peer
        from tfb2d.bench.systems import ENCODER, EXTRA
        from tfb2d.data.resources import resolve

        missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
        if missing:
            raise UserError(f"--peer={name} needs {', '.join(missing)}: {EXTRA}")
        file = self._folder / f"{name}.int8.onnx"
        if not file.exists():
            build_peer(name, str(file))
        tokenizer = Path(resolve(ENCODER)) / "tokenizer.json"
        return {"file": str(file), "tokenizer": str(tokenizer), "max_length": _PEER_TOKENS, "threads": 1}

    def _with_distractors(self) -> Source:
        count, seed = self._options.distractors, self._options.seed
        if not count:
            return self._source
        path = self._folder / f"distractors-{count}-{seed}.parquet"
        if not path.exists():
            _LOG.info("makes %s distractors", f"{count:,}")
            titles = [title.title for title in self._source.read(self._source.paths())]
            write_distractors(path, titles, count, seed, (self._source.id, self._source.title))
        return replace(self._source, files=[*self._source.files, str(path)])

    def _make(self, base: Path, backend: str, dtype: str) -> Path:
        """Makes an index from the vectors of another; does nothing where it was made from these."""
        graph = {"m": self._options.m, "ef_construction": self._options.ef_construction}
        parameters = graph if backend == "hnsw" else {}

        def work(folder: Path) -> Outcome:
            derive(base, folder, dtype=dtype, backend=backend, parameters=parameters, progress=self._options.progress)
            return Outcome()

        folder = self._folder / f"{backend}-{dtype}"
        bring_up(folder, fingerprint(Manifest.read(base).catalogue, parameters), work, Outcome)
        return folder

    def _judgements(self, index: Path) -> Judgements:
        columns = columns_of(self._options, id_flag="judged_id", title_flag="judged_title")
        judgements = read_judgements(columns, Catalogue(index, Manifest.read(index)))
        relevant = {query: gains for query, gains in judgements.gains.items() if any(gains.values())}
        count = min(self._options.max_queries, len(relevant))
        chosen = np.unique(np.linspace(0, len(relevant) - 1, count).astype(int))
        queries = list(relevant)
        return replace(judgements, gains={queries[at]: relevant[queries[at]] for at in chosen})

    def _vectors(self, queries: Sequence[str]) -> Path:
        path = self._folder / "queries.npy"
        with closing(Model(self._options.model)) as model:
            np.save(path, np.stack([model.query(query) for query in queries]))
        return path

    def _judged(self, folder: Path, judgements: Judgements) -> dict[str, Any]:
        """Returns the measures of judged titles of an index; BM25 and random are those of the first alone."""
        with Searcher.open(folder, twin=self._options.model, ranker=self._options.ranker) as searcher:
            legs = None if folder.name == BASE else ("twin", "both", "ranked")
            figures = measure(searcher, judgements, recall_at=KS, retrieve=DEPTH, only=legs)
        return {way: each.intervals() for way, each in figures.items()}


def _seconds(folder: Path, otherwise: float) -> float:
    """Returns how long a folder's work took; another number where it is no folder of work."""
    record = read_record(folder)
    return max(record.seconds if record else otherwise, 1e-3)


def distractors(titles: Sequence[str], count: int, seed: int = 0) -> Iterator[str]:
    """Yields titles that are neither a real one nor each other; the same arguments give the same ones.

    Each has the words of a real title, about half of them replaced by words that stand at the same place (from the
    left) in other titles. So lengths, brands in front and sizes at the end are as in the real ones. Raises DataError
    where the titles have too few words to make `count` of them.
    """
    split = [words for words in (title.split() for title in titles) if words]
    if not split:
        raise DataError("there are no titles whose words could be recombined")
    by_position = [list(filter(None, column)) for column in zip_longest(*split)]
    used = {hash64(text_key(title)) for title in titles}
    generator = np.random.default_rng(seed)
    made, tries = 0, 0
    while made < count:
        starts = generator.integers(len(split), size=_CHUNK)
        longest = max(len(split[start]) for start in starts)
        swaps = generator.random((_CHUNK, longest)) < 0.5
        choices = generator.random((_CHUNK, longest))
        for start, swap, choice in zip(starts, swaps, choices, strict=True):
            words = list(split[start])
            for position in np.flatnonzero(swap[: len(words)]).tolist():
                others = by_position[position]
                words[position] = others[int(choice[position] * len(others))]
            title = " ".join(words)
            tries += 1
            if (key := hash64(text_key(title))) in used:
                if tries > _TRIES * (made + 1_000):
                    few = f"{len(titles):,} titles have too few words"
                    raise DataError(f"{few}: only {made:,} others can be made of them")
                continue
            used.add(key)
            made += 1
            yield title
            if made == count:
                return


def write_distractors(path: Path, titles: Sequence[str], count: int, seed: int, columns: tuple[str, str]) -> None:
    """Writes distractors with ids as Parquet, atomically; `columns` are the names of id and title."""
    schema = pa.schema([(name, pa.string()) for name in columns])
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        made = distractors(titles, count, seed)
        for start in range(0, count, _CHUNK):
            some = list(islice(made, _CHUNK))
            ids = [f"distractor-{start + index}" for index in range(len(some))]
            writer.write_table(pa.table([ids, some], schema=schema))
