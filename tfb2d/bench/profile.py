"""Measures the time of each op of a student, from strings to probabilities.

tfb2d bench --profile --model=saved_models/sst2 --output=runs/profile
tfb2d bench --profile --model=float=models/a/1 --model=int8=models/a/2 --data=runs/sst2 --output=runs/profile

TensorFlow traces calls on one core (`RunOptions.trace_level`: start and end of every kernel). `us` is the median time of
all nodes of an op in a call, `share` its part of a call's kernels. The table also has their sum and the median of a call
without tracing, run as a server runs it. Such a call also feeds, fetches and steps from node to node. Tracing slows
kernels down, so their sum can exceed the call.

Writes into --output: profile.json (rows of model, task, batch, op, nodes, us, share; op "call" is the untraced call) and
profile.txt, a table.
"""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.bench.measure import RANK, BenchError, cores, parse_batches, time_calls
from tfb2d.bench.modes import add_modes, add_what
from tfb2d.bench.students import Session
from tfb2d.cli.arguments import Parser

if TYPE_CHECKING:
    from tfb2d.bench.work import Work

CALL = "call"
SHOWN = 12  # ops of a table; all others share a line
WARMUP = 5  # traced calls that are not counted


def add_arguments(parser: Parser) -> None:
    """Adds this mode's flags."""
    add_what(parser, "An exported student")
    how = parser.group("how")
    how.words("batches", "Rows a call; rank is 100 titles for one query.", ["1", "rank", "1024"])
    how.integer("calls", "Calls that are traced.", 200, 1)
    how.real("seconds", "How long calls are timed without tracing.", 1.0, 0.0)
    add_modes(parser)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.bench.outcome import write
    from tfb2d.bench.scoring import student_models
    from tfb2d.bench.work import load

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores(1))
    sizes = parse_batches(options.batches)
    models = student_models(options.model)
    rows = []
    for work in load(options.data, [task for _, task, _ in models.values()]):
        for name, (folder, task, _) in models.items():
            for batch in sizes if len(task.fields) == len(work.task.fields) else ():
                if batch != RANK or work.pairs:
                    for op_figures in profile(folder, task.fields, work, batch, options.calls, options.seconds):
                        rows.append({"model": name, "task": work.name, "batch": batch, **op_figures})
    if not rows:
        raise BenchError("no model takes texts of these fields; give --data that fits")
    write(Path(options.output), "profile", rows, table(rows))


def profile(
    folder: Path, fields: Sequence[str], work: "Work", batch: int | str, calls: int, seconds: float
) -> list[dict[str, Any]]:
    """Traces `calls` calls of a student, of a version's folder, and times others for `seconds`.

    Returns `{"op", "nodes", "us", "share"}` of an untraced call, then of each op, the longest first.
    """
    system = Session(str(folder), fields)
    method = "rank" if batch == RANK else "score"
    inputs = work.calls(batch)
    timing = time_calls(getattr(system, method), inputs, 1, seconds=seconds)
    traced = Traced(folder)
    seen = [traced.run(*getattr(system, f"{method}_feeds")(*inputs[i % len(inputs)])) for i in range(WARMUP + calls)]
    system.close()
    traced.close()
    ops = []
    for op in dict.fromkeys(op for ops_of_call in seen[WARMUP:] for op in ops_of_call):
        counts, times = zip(*(ops_of_call.get(op, (0, 0.0)) for ops_of_call in seen[WARMUP:]), strict=True)
        ops.append((op, round(float(np.median(counts))), float(np.median(times))))
    ops.sort(key=lambda ops_of_call: -ops_of_call[2])
    kernels = sum(us for _, _, us in ops)
    call = (CALL, sum(nodes for _, nodes, _ in ops), timing.p50_us)
    return [{"op": op, "nodes": nodes, "us": us, "share": us / kernels} for op, nodes, us in (call, *ops)]


class Traced:
    """Runs a SavedModel, of a version's folder, whose ops TensorFlow traces."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        v1 = tf.compat.v1
        # The server's session cannot trace. This session runs the same kernels, with more time between them.
        config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = v1.Session(graph=tf.Graph(), config=config)
        with self._session.graph.as_default():
            v1.saved_model.load(self._session, ["serve"], str(folder))
        self._options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
        self._metadata = v1.RunMetadata

    def run(self, feeds: dict[str, np.ndarray], fetch: str | list[str]) -> dict[str, tuple[int, float]]:
        """Runs a call; returns op -> (number of its nodes that ran, their microseconds together)."""
        metadata = self._metadata()
        self._session.run(fetch, feeds, options=self._options, run_metadata=metadata)
        ops = {node.name: node.op for graph in metadata.partition_graphs for node in graph.node}
        totals: dict[str, tuple[int, float]] = {}
        for node in (node for device in metadata.step_stats.dev_stats for node in device.node_stats):
            if op := ops.get(node.node_name):  # _SOURCE, the start of a graph, is no op
                nodes, before = totals.get(op, (0, 0.0))
                totals[op] = nodes + 1, before + (node.op_end_rel_nanos - node.op_start_rel_nanos) / 1e3
        return totals

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lays out the entries as text: a table for every model, task and batch."""
    from tfb2d.evaluation.table import layout

    parts = []
    for model, task, batch in dict.fromkeys((row["model"], row["task"], row["batch"]) for row in rows):
        call, *ops = (row for row in rows if (row["model"], row["task"], row["batch"]) == (model, task, batch))
        lines = [[f"{model}, {task}, {batch}", "nodes", "us", "share"]]
        lines += [[row["op"], str(row["nodes"]), f"{row['us']:,.1f}", f"{row['share']:.1%}"] for row in ops[:SHOWN]]
        others = ops[SHOWN:]
        if others:
            nodes, us, share = (sum(row[key] for row in others) for key in ("nodes", "us", "share"))
            lines.append([f"{len(others)} more ops", str(nodes), f"{us:,.1f}", f"{share:.1%}"])
        lines.append(["all kernels", str(call["nodes"]), f"{sum(row['us'] for row in ops):,.1f}", ""])
        lines.append(["a call, untraced", "", f"{call['us']:,.1f}", f"{call['share']:.1%}"])
        parts.append(layout(lines))
    return "\n\n".join(parts)
