"""Measures how far a row's score depends on the other rows of its batch.

ONNX Runtime's dynamic quantisation chooses one scale for a whole activation tensor, so for all rows of a batch. A row's
score then changes with its batch. Students quantise their tables once, before any request, so their scores do not. LiteRT
has a scale for each row.

Reference: onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "Dynamic and Static Quantization".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfb2d.bench.bert import CHUNK
from tfb2d.bench.measure import Worker

ROWS = CHUNK  # rows scored together: as many as a Transformer's forward pass takes


def batch_shift(worker: Worker, columns: Sequence[Sequence[str]]) -> float:
    """Returns the largest change of a row's score between a batch of `ROWS` rows and a batch of that row alone.

    Args:
      worker: holds an opened system.
      columns: texts, one sequence a field; the first `ROWS` rows are scored.
    """
    first = [list(column[:ROWS]) for column in columns]
    together = np.asarray(worker.call("score", *first), np.float64)
    alone = [worker.call("score", *([column[row]] for column in first)) for row in range(len(first[0]))]
    return float(np.abs(together - np.concatenate([np.asarray(score, np.float64) for score in alone])).max())


def batch_lines(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns a line for each task with the largest change of each system's scores; "" without such figures."""
    shifts: dict[str, dict[str, float]] = {}
    for entry in results:
        if entry.get("batch_shift") is not None:
            shifts.setdefault(entry["task"], {})[entry["system"]] = entry["batch_shift"]
    if not shifts:
        return ""
    lines = [f"Largest change of a row's score, {ROWS} rows together against each alone:"]
    for task, systems in shifts.items():
        lines.append(f"  {task}: " + ", ".join(f"{system} {shift:.1g}" for system, shift in systems.items()))
    lines.append("ONNX Runtime's dynamic quantisation takes one scale a tensor, so a row's score depends on its batch.")
    return "\n".join(lines)
