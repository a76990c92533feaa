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
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.bench.measure import RANK, TITLES, BenchError, cores, named_folders, parse_batches
from tfb2d.bench.modes import add_modes, add_what
from tfb2d.cli.arguments import Parser
from tfb2d.edge import EdgeScorer
from tfb2d.model_folder import megabytes

if TYPE_CHECKING:
    from tfb2d.bench.cells import Settings
    from tfb2d.bench.work import Work

# Prints the milliseconds from loading the model to the first score.
COLD = """
import sys, time, json
from tfb2d.edge import EdgeScorer
columns = json.loads(sys.argv[4])
start = time.perf_counter()
EdgeScorer(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True").score(*columns)
print((time.perf_counter() - start) * 1e3)
"""


def add_arguments(parser: Parser) -> None:
    """Adds this mode's flags."""
    add_what(parser, "An edge folder or a version's")
    how = parser.group("how")
    how.numbers("threads", "Cores, each number measured by itself.", (1, 2))
    how.words("batches", "Rows a call; rank, or 100 of pairs, is 100 titles for one query.", ["1", "16", "100", "1024"])
    how.real("seconds", "Least seconds of a round of a cell.", 1.0, 0.0)
    how.integer("rounds", "Turns of each system in a cell.", 3, 1)
    how.integer("starts", "Cold starts of each system.", 5, 1)
    add_modes(parser)


class Edge(EdgeScorer):
    """Is the edge form's runner as a system of the bench: NumPy and the TFLite interpreter alone.

    Raises BenchError where TensorFlow is loaded, whose memory and time would be measured, too.
    """

    def __init__(self, folder: str, threads: int, xnnpack: bool = True) -> None:
        super().__init__(folder, threads, xnnpack)
        self.about = {"file_mb": megabytes(Path(folder))}
        if "tensorflow" in sys.modules:
            raise BenchError("TensorFlow is loaded in the process that measures the edge form")


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.bench.cells import Settings
    from tfb2d.bench.outcome import write
    from tfb2d.bench.work import load
    from tfb2d.edge.spec import edge_folder, read_spec

    cores(max(options.threads))  # that there are so many
    batches = parse_batches(options.batches)
    models = {name: edge_folder(folder) for name, folder in named_folders(options.model).items()}
    fields = {name: read_spec(folder).fields for name, folder in models.items()}
    works = load(options.data, fields=next(iter(fields.values())))
    rows = []
    for work in works:
        fitting = {name: folder for name, folder in models.items() if len(fields[name]) == len(work.task.fields)}
        if fitting and work.name != "plots":
            sizes = [RANK if work.pairs and batch == TITLES else batch for batch in batches]
            rows += measure(
                fitting, work, Settings(options.threads, sizes, options.seconds, options.rounds), options.starts
            )
    if not rows:
        raise BenchError("no model takes texts of these fields; give --data that fits")
    write(Path(options.output), "edge", rows, table(rows))


def measure(models: Mapping[str, Path], work: "Work", settings: "Settings", starts: int) -> list[dict[str, Any]]:
    """Measures all cells of edge folders that read the same texts, and their cold starts; returns rows of edge.json."""
    from tqdm import tqdm

    from tfb2d.bench import cells
    from tfb2d.bench.systems import Ready

    systems, first = {}, [column[:1] for column in work.rows.columns]
    for name, folder in models.items():
        for on in (True, False):
            arguments = {"folder": str(folder), "xnnpack": on}
            called = f"{name}{'' if on else ', no XNNPACK'}"
            systems[called] = Ready(called, "", "tfb2d.bench.edge:Edge", arguments, trained=True, threaded=True)
    with tqdm(desc="cold starts", unit=" cell", disable=not sys.stderr.isatty()) as bar:
        cold = {
            (name, threads): cold_start(system.arguments, threads, first, starts)
            for name, system in systems.items()
            for threads in settings.threads
        }
        rows = cells.measure(list(systems.values()), [work], settings, bar)
    for row in rows:
        row |= {"xnnpack": systems[row["system"]].arguments["xnnpack"], **cold[row["system"], row["threads"]]}
    return rows


def cold_start(
    edge: Mapping[str, Any], threads: int, columns: Sequence[Sequence[str]], starts: int
) -> dict[str, float]:
    """Measures median milliseconds from a process's start to its first score, and the model's part of it.

    Files are cached by the system.
    """
    arguments = [edge["folder"], str(threads), str(edge["xnnpack"]), json.dumps(columns)]
    pin = f"import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {cores(threads)})\n"
    whole, model = [], []
    for _ in range(starts):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", pin + COLD, *arguments], capture_output=True, text=True, check=False
        )
        whole.append((time.perf_counter() - start) * 1e3)
        if done.returncode:
            raise BenchError(f"{edge['folder']} did not start: {done.stderr.strip().splitlines()[-1]}")
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
