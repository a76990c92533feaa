"""Latency of a model, from strings to probabilities, as its caller sees it; the machine that it is measured on."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Columns = Sequence[Sequence[str]]


def measure(
    score: Callable[[Columns], Any], columns: Columns, *, rows: int = 200, warmup: int = 10, batch: int = 256
) -> dict[str, Any]:
    """Times a model on single rows, one after another, and on batches.

    The first calls trace, compile and fill caches, so they are not counted. Texts differ from call to call, as in service.
    One thread calls; the model may use more.

    Args:
      score: takes one sequence of texts a field and returns when the probabilities are there.
      columns: texts to score, one sequence a field, at least one row; repeated as needed.
      rows: timed single-row calls, and timed rows in batches (at least 5 batches).
      warmup: calls before the clock starts, of each form.
      batch: rows of a batch.

    Returns:
      `{"single_ms": {"p50", "p99"}, "batch_rows", "batch_ms": {"p50", "p99"}, "rows_per_second"}`: milliseconds a call,
      and the rows of a batch over the median batch's time. Raises ValueError without rows.
    """
    texts = [list(column) for column in columns]
    count = len(texts[0]) if texts else 0
    if not count:
        raise ValueError("latency is measured on real texts; there are none")
    if min(rows, batch) < 1 or warmup < 0:
        raise ValueError(f"rows={rows}, warmup={warmup}, batch={batch}: counts, of which rows and batch are at least 1")

    def timed(size: int, before: int, calls: int) -> dict[str, float]:
        """Returns percentiles of the milliseconds of calls with `size` rows; those `before` are not counted."""
        times = []
        for call in range(-before, calls):
            picked = [[column[row % count] for row in range(call * size, (call + 1) * size)] for column in texts]
            start = time.perf_counter()
            score(picked)
            if call >= 0:
                times.append((time.perf_counter() - start) * 1000)
        return percentiles(times)

    single, batches = timed(1, warmup, rows), timed(batch, max(1, warmup // 5), max(5, rows // batch))
    return {
        "single_ms": single,
        "batch_rows": batch,
        "batch_ms": batches,
        "rows_per_second": batch / batches["p50"] * 1000,
    }


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Returns the median and the 99th percentile, as `p50` and `p99`."""
    return {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def machine() -> str:
    """Returns the processor, its cores and the system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {os.cpu_count()} cores, {platform.system()}"
