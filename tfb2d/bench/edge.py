"""Measures the edge form on this machine: strings in, probabilities out, no TensorFlow in the process.

tfb2d bench --tflite --model=saved_models/shop/1 --output=runs/bench
tfb2d bench --tflite --model=int8=edge/shop --model=float=edge/shop.float --data=dev.tsv --output=runs/bench

Each model runs with XNNPACK on and off, pinned to --threads cores, in its own process with NumPy and ai-edge-litert
alone. The processes take turns, --rounds times a cell. Times include hashing the texts (plain Python). --model is an edge
folder (scorer.tflite, spec.json) or a version with such a folder, made by `tfb2d export`. Without --data it measures on
the quickstart's test films.

A cold start is the time from a process's start to its first score: Python, NumPy, the runtime, the model, one text.

Writes edge.json into --output (rows as in bench.json, and cold_start_ms, model_ms, xnnpack) and edge.txt, a table.
"""

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.bench.measure import RANK, BenchError, Timing, Worker, cores, middle, result
from tfb2d.bench.modes import add_modes
from tfb2d.model_folder import megabytes

if TYPE_CHECKING:
    from tfb2d.arguments import Parser

# Prints the milliseconds from loading the model to the first score.
COLD = """
import sys, time, json
from tfb2d.edge import EdgeScorer
columns = json.loads(sys.argv[4])
start = time.perf_counter()
EdgeScorer(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True").score(*columns)
print((time.perf_counter() - start) * 1e3)
"""


def add_arguments(parser: "Parser") -> None:
    """Adds this mode's flags."""
    what = parser.group("what is measured")
    what.flag(
        "model", "An edge folder or a version's; may be repeated.", repeated=True, required=True, metavar="[NAME=]DIR"
    )
    what.flag("data", "A run's folder (its test split), or labelled files. [default: films]", repeated=True)
    what.flag("output", "The folder for results.", required=True, metavar="DIR")
    how = parser.group("how")
    how.words("threads", "Cores, each number measured apart.", ["1", "2"])
    how.words("batches", "Rows a call; of pairs 100 is 100 titles for one query.", ["1", "16", "100", "1024"])
    how.real("seconds", "Least seconds of a round of a cell.", 1.0, 0.0)
    how.integer("rounds", "Turns of each system in a cell.", 3, 1)
    how.integer("starts", "Cold starts of each system.", 5, 1)
    add_modes(parser)


class Edge:
    """Scores with `tfb2d.edge.EdgeScorer`, NumPy and the TFLite interpreter alone, as a system of the bench.

    Args:
      folder: the edge form's.
      threads: of the interpreter.
      xnnpack: whether to use XNNPACK's kernels.
    """

    def __init__(self, folder: str, threads: int, xnnpack: bool = True) -> None:
        from tfb2d.edge import EdgeScorer

        self._scorer = EdgeScorer(folder, threads, xnnpack)
        self.about = {"file_mb": megabytes(Path(folder)), "tensorflow": "tensorflow" in sys.modules}

    def score(self, *columns: Sequence[str]) -> Any:
        """Returns probabilities `[n]`, or `[n, k]` of a multi-class task."""
        return self._scorer.score(*columns)

    def rank(self, query: str, titles: Sequence[str]) -> Any:
        """Returns probabilities of titles, `[n]`; the query is hashed once."""
        return self._scorer.rank(query, titles)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.bench.work import Sources, load
    from tfb2d.data.files import write_atomic, write_json
    from tfb2d.edge.spec import edge_folder, read_spec

    threads, batches = (_counts(name, getattr(options, name)) for name in ("threads", "batches"))
    cores(max(threads))
    models = {name: edge_folder(folder) for name, folder in _named(options.model).items()}
    fields = {name: read_spec(folder).fields for name, folder in models.items()}
    works = load(Sources(options.data, fields=next(iter(fields.values())) if options.data else ()))
    works = [work for work in works if work.name != "plots"]
    rows = []
    for work in works:
        fitting = {name: folder for name, folder in models.items() if len(fields[name]) == len(work.task.fields)}
        for count in threads if fitting else ():
            rows += measure(fitting, work, count, batches, options.seconds, options.rounds, options.starts)
    if not rows:
        raise BenchError("no model takes texts of these fields; give --data that fits")
    out = Path(options.output)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "edge.json", rows)
    write_atomic(out / "edge.txt", table(rows) + "\n")
    print(f"{table(rows)}\n\nresults in {out}")


def measure(
    models: Mapping[str, Path],
    work: Any,
    threads: int,
    batches: Sequence[int],
    seconds: float,
    rounds: int,
    starts: int,
) -> list[dict[str, Any]]:
    """Measures all cells of some models that read the same texts.

    Args:
      models: name -> edge folder.
      work: a `tfb2d.bench.work.Work`.
      threads: cores, and threads of the runtime.
      batches: rows a call.
      seconds: of a round.
      rounds: turns of each system.
      starts: cold starts of each system.

    Returns:
      Entries as of bench.json, with `cold_start_ms`, `model_ms` and `xnnpack`.
    """
    systems = {
        f"{name}{'' if on else ', no XNNPACK'}": (path, on) for name, path in models.items() for on in (True, False)
    }
    from tfb2d.bench.work import accuracy

    first = [column[:1] for column in work.rows.columns]
    cold = {name: cold_start(path, threads, on, first, starts) for name, (path, on) in systems.items()}
    rows = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(threads)) for name in systems}
        for name, (path, on) in systems.items():
            opened = workers[name].open("tfb2d.bench.edge:Edge", folder=str(path), threads=threads, xnnpack=on)
            if opened["tensorflow"]:
                raise BenchError("TensorFlow is loaded in the process that measures the edge form")
        accuracies = {name: accuracy(worker, work) for name, worker in workers.items()}
        for batch in batches:
            size: int | str = RANK if work.pairs and batch == 100 else batch
            calls, method = work.calls(size), "rank" if size == RANK else "score"
            timings: dict[str, list[Timing]] = {name: [] for name in systems}
            for _ in range(rounds):
                for name, worker in workers.items():
                    timings[name].append(worker.time(method, calls, batch, seconds=seconds, warmup=min(0.2, seconds)))
            for name, (path, on) in systems.items():
                sizes: dict[str, Any] = {"file_mb": megabytes(path), "accuracy": accuracies[name]}
                more: dict[str, Any] = {"xnnpack": on, **cold[name]}
                rows.append(result(name, work.name, size, threads, middle(timings[name]), **sizes, **more))
    return rows


def cold_start(folder: Path, threads: int, xnnpack: bool, columns: Sequence[Any], starts: int) -> dict[str, float]:
    """Measures median milliseconds from a process's start to its first score, and the model's part of it.

    Files are cached by the system.
    """
    arguments = [str(folder), str(threads), str(xnnpack), json.dumps(columns)]
    pin = f"import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {cores(threads)})\n"
    command = [sys.executable, "-c", pin + COLD, *arguments]
    whole, model = [], []
    for _ in range(starts):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
        whole.append((time.perf_counter() - start) * 1e3)
        if done.returncode:
            raise BenchError(f"{folder} did not start: {done.stderr.strip().splitlines()[-1]}")
        model.append(float(done.stdout))
    return {"cold_start_ms": float(np.median(whole)), "model_ms": float(np.median(model))}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lays out the entries as text."""
    from tfb2d.evaluation.table import figure, layout

    lines = [
        ["system", "task", "batch", "threads", "p50 us", "p99 us", "rows/s", "peak MB", "MB", "start ms", "accuracy"]
    ]
    for entry in rows:
        figures = (f"{entry[key]:,.0f}" for key in ("p50_us", "p99_us", "rows_per_s", "peak_mb"))
        size, start = f"{entry['file_mb']:.1f}", f"{entry['cold_start_ms']:,.0f}"
        names = [str(entry[key]) for key in ("system", "task", "batch", "threads")]
        lines.append([*names, *figures, size, start, figure(entry["accuracy"])])
    return layout(lines)


def _counts(name: str, texts: Sequence[str]) -> list[int]:
    if not texts or not all(value.isdigit() and int(value) for value in texts):
        raise BenchError(f"--{name} takes numbers above 0, not {','.join(texts) or 'nothing'}")
    return [int(value) for value in texts]


def _named(flags: Sequence[str]) -> dict[str, str]:
    models: dict[str, str] = {}
    for flag in flags:
        name, _, folder = flag.rpartition("=")
        name = name or Path(folder).resolve().name
        if name in models:
            raise BenchError(f"two of --model are called {name}; name them: --model=one={folder}")
        models[name] = folder
    return models
