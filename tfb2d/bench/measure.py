"""Times calls in a separate process, which has its own cores, memory and CPU time.

A `Worker` starts `tfb2d.bench.worker` on given cores; thread pools get their size before any library loads. The worker
opens a *system*: an object with methods to time, made by a factory `"module:function"`. Several workers take turns, so
that noise of the machine hits all systems alike. Requests and answers are lines of JSON over pipes.
"""

import importlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.errors import UserError

RANK = "rank"  # a batch size: the titles of one query
TITLES = 100  # of one query in a call of batch RANK
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class BenchError(UserError, RuntimeError):
    """Says that a measurement is impossible, and what to do about it."""


@dataclass(frozen=True)
class Timing:
    """Holds the times of calls of one kind, made one after another."""

    calls: int
    rows: int  # of all calls
    seconds: float  # of all calls
    cpu_seconds: float  # of all threads of the process
    p50_us: float  # microseconds of a call
    p99_us: float
    rows_per_s: float
    peak_mb: float  # highest resident memory meanwhile, libraries and model included, in 10^6 bytes

    @property
    def cpu_s_per_million(self) -> float:
        """Returns the CPU seconds for a million rows."""
        return self.cpu_seconds / self.rows * 1e6


def time_calls(
    call: Any, inputs: Sequence[Sequence[Any]], rows: int, *, seconds: float, least: int = 3, warmup: float = 0.1
) -> Timing:
    """Times `call(*inputs[i])` of `rows` rows, which must return a finished result, for `seconds`; inputs repeat.

    The last call is finished, and at least `least` calls are made. `warmup` seconds of calls before are not counted;
    above 0, that is at least one call.
    """
    with suppress(OSError):  # without this file, peak memory counts from the process's start
        Path("/proc/self/clear_refs").write_text("5")
    number = 0
    end = time.perf_counter() + warmup
    while warmup > 0 and (not number or time.perf_counter() < end):
        call(*inputs[number % len(inputs)])
        number += 1
    times: list[float] = []
    cpu = time.process_time()
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        arguments = inputs[number % len(inputs)]
        number += 1
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    busy = sum(times)
    p50, p99 = np.percentile(times, [50, 99]) * 1e6
    return Timing(
        len(times), rows * len(times), busy, cpu, float(p50), float(p99), rows * len(times) / busy, peak_megabytes()
    )


def peak_megabytes() -> float:
    """Returns the highest resident memory since this process or `time_calls` began, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure begins with the parent process's
        match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if match:
            return int(match[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def middle(timings: Sequence[Timing]) -> Timing:
    """Takes the median of every figure over rounds; counts and seconds are their sums, peak memory the largest."""
    values: dict[str, Any] = {
        field.name: float(np.median([getattr(timing, field.name) for timing in timings])) for field in fields(Timing)
    }
    for name in ("calls", "rows", "seconds", "cpu_seconds"):
        values[name] = sum(getattr(timing, name) for timing in timings)
    return Timing(**values | {"peak_mb": max(timing.peak_mb for timing in timings)})


@dataclass(frozen=True)
class Costs:
    """Holds the factors from CPU seconds to energy and money: of a busy core with its share of memory, board and fans."""

    watts: float = 8.0
    price: float = 0.04

    def of(self, cpu_s_per_million: float | None) -> dict[str, float | None]:
        """Returns `{"cpu_s_per_million", "wh_per_million", "cost_per_million"}`."""
        hours = None if cpu_s_per_million is None else cpu_s_per_million / 3600
        return {
            "cpu_s_per_million": cpu_s_per_million,
            "wh_per_million": None if hours is None else hours * self.watts,
            "cost_per_million": None if hours is None else hours * self.price,
        }


def result(
    system: str,
    task: str,
    batch: int | str,
    threads: int,
    timing: Timing | None,
    *,
    file_mb: float | None = None,
    accuracy: float | None = None,
    costs: Costs | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Makes an entry of `bench.json`; without a timing its figures are None, unless `more` has them."""
    figures = asdict(timing) if timing else {}
    return {
        **{"system": system, "task": task, "batch": batch, "threads": threads},
        **{name: figures.get(name) for name in ("p50_us", "p99_us", "rows_per_s", "peak_mb")},
        **{"file_mb": file_mb, "accuracy": accuracy},
        **(costs or Costs()).of(timing.cpu_s_per_million if timing else None),
        **more,
    }


def named_folders(flags: Sequence[str]) -> dict[str, str]:
    """Reads [NAME=]DIR flags as name -> folder, by default of its own name; raises BenchError for equal names."""
    by_name: dict[str, str] = {}
    for entry in flags:
        name, _, folder = entry.rpartition("=")
        name = name or Path(folder).resolve().name
        if name in by_name:
            raise BenchError(f"--model={entry}: another is called {name}; write --model=NAME={folder}")
        by_name[name] = folder
    return by_name


def parse_batches(texts: Sequence[str]) -> list[int | str]:
    """Parses a --batches flag, numbers of rows or "rank"; raises BenchError for another value, or none."""
    wrong = [value for value in texts if value != RANK and not (value.isdigit() and int(value))]
    if wrong or not texts:
        raise BenchError(f"--batches takes numbers of rows and rank, not {', '.join(wrong) or 'nothing'}")
    return [value if value == RANK else int(value) for value in texts]


def cores(threads: int) -> list[int]:
    """Returns the first cores, as many as threads, that this process may use; raises BenchError if they are fewer."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if threads > len(allowed):
        raise BenchError(f"--threads={threads}: this process may use {len(allowed)} cores")
    return allowed[:threads]


class Worker:
    """Runs a process that holds one system, pinned to a number of cores; use it in a `with` block."""

    def __init__(self, threads: int) -> None:
        self._cores, self.threads = cores(threads), threads

    def __enter__(self) -> "Worker":
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
        pools = dict.fromkeys(POOLS, str(self.threads)) | {"TOKENIZERS_PARALLELISM": str(self.threads > 1).lower()}
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tfb2d.bench.worker", ",".join(map(str, self._cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **quiet, **pools},
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._log.close()

    def open(self, factory: str, **arguments: Any) -> dict[str, Any]:
        """Makes the system by `module:function`; returns seconds, peak_mb and its `about`, if it has one.

        All methods take JSON arguments, and raise BenchError with the process's message where it fails.
        """
        return self._request(do="open", factory=factory, arguments=arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the system and returns its result; arrays come back as lists."""
        return self._request(do="call", method=method, arguments=arguments)

    def run(self, function: str, **arguments: Any) -> Any:
        """Runs `module:function` in that process and returns its result; arrays come back as lists."""
        return self._request(do="run", function=function, arguments=arguments)

    def time(self, method: str, inputs: Sequence[Sequence[Any]], rows: int, **how: float) -> Timing:
        """Times a method of the system in that process; see `time_calls`."""
        return Timing(**self._request(do="time", method=method, inputs=inputs, rows=rows, **how))

    def _request(self, **request: Any) -> Any:
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            log = "\n".join(self._log.read().splitlines()[-15:])
            raise BenchError(f"the process that measures ended ({self._process.wait()}); its last lines:\n{log}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(answer["error"])
        return answer["value"]


def import_function(name: str) -> Any:
    """Imports the function that `module:function` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
