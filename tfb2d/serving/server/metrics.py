"""Counters and histograms under TensorFlow Serving's names, in Prometheus' text format.

Names are TensorFlow's metric paths with ':' for '/'. Histogram buckets: 10 * 1.8^k, k < 33, as in TensorFlow Serving.
"""

import bisect
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

_BOUNDS = [10 * 1.8**k for k in range(33)]
_SHOWN = [f"{bound:.6g}" for bound in _BOUNDS]
_Labels = tuple[str, ...]
_MAX_SERIES = 10_000  # labels hold model names from requests: a client must not fill the memory with them


class _Metric(ABC):
    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._lock = threading.Lock()

    def _shown(self, values: _Labels, extra: str = "") -> str:
        pairs = [f'{label}="{_escape(value)}"' for label, value in zip(self.labels, values, strict=True)]
        return "{" + ",".join([*pairs, *([extra] if extra else [])]) + "}"

    @abstractmethod
    def lines(self) -> list[str]:
        """The metric as Prometheus reads it."""


class Counter(_Metric):
    """A count that only rises."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels)
        self._values: dict[_Labels, int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Adds to a series."""
        with self._lock:
            if labels in self._values or len(self._values) < _MAX_SERIES:
                self._values[labels] = self._values.get(labels, 0) + count

    def lines(self) -> list[str]:
        """The exposition's lines."""
        with self._lock:
            values = sorted(self._values.items())
        return [f"{self.name}{self._shown(labels)} {value}" for labels, value in values]


class Histogram(_Metric):
    """Observations in buckets."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels)
        self._values: dict[_Labels, list[float]] = {}  # counts per bucket, the last beyond all bounds; then the sum

    def observe(self, value: float, *labels: str) -> None:
        """Adds an observation."""
        place = bisect.bisect_left(_BOUNDS, value)
        with self._lock:
            series = self._values.get(labels)
            if series is None:
                if len(self._values) >= _MAX_SERIES:
                    return
                series = self._values[labels] = [0] * (len(_BOUNDS) + 1) + [0.0]
            series[place] += 1
            series[-1] += value

    def lines(self) -> list[str]:
        """The exposition's lines."""
        with self._lock:
            values = sorted((labels, list(series)) for labels, series in self._values.items())
        out = []
        for labels, series in values:
            total = 0
            for bound, count in zip([*_SHOWN, "+Inf"], series[:-1], strict=True):
                total += int(count)
                bucket = self._shown(labels, f'le="{bound}"')
                out.append(f"{self.name}_bucket{bucket} {total}")
            out.append(f"{self.name}_sum{self._shown(labels)} {series[-1]:.6g}")
            out.append(f"{self.name}_count{self._shown(labels)} {total}")
        return out


class Metrics:
    """The server's metrics."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        self.requests = Counter(serving + "request_count", "The total number of requests.", ["model_name", "status"])
        self.latency = Histogram(
            serving + "request_latency", "Distribution of request latency.", ["model_name", "API", "entrypoint"]
        )
        self.runtime = Histogram(
            serving + "runtime_latency", "Distribution of Tensorflow runtime latency.", ["model_name", "API", "runtime"]
        )
        self.examples = Histogram(
            serving + "request_example_counts", "The number of tensorflow.Examples per request.", ["model"]
        )
        self.examples_total = Counter(
            serving + "request_example_count_total", "The total number of tensorflow.Examples.", ["model"]
        )
        self.logged = Counter(
            serving + "request_log_count", "The total number of requests logged.", ["model_name", "status"]
        )
        self.warmup = Histogram(
            serving + "model_warmup_latency", "Distribution of model warmup latency.", ["model_path", "status"]
        )
        self.warmup_records = Counter(
            serving + "model_warmup_records_read", "The total number of warmup records read.", ["model_path", "status"]
        )
        self.queuing = Histogram(
            serving + "batching_session:queuing_latency", "Distribution of wall time spent in the queue.", []
        )
        self.batch_rows = Counter(
            serving + "batching:processed_batch_size_v2", "The rows of the batches that ran.", ["batch_size"]
        )
        self.runs = Counter(
            serving + "batching_session:wrapped_run_count", "Total count of run calls on the wrapped session", []
        )
        self.loads = Counter(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested.",
            ["model_path", "status"],
        )
        self.load_latency = Counter(
            ":tensorflow:cc:saved_model:load_latency", "Latency in microseconds of successful loads.", ["model_path"]
        )
        self._all = [one for one in vars(self).values() if isinstance(one, _Metric)]

    def batched(self, seconds: float, rows: int) -> None:
        """A batch left its queue."""
        self.queuing.observe(seconds * 1e6)
        self.batch_rows.add(str(rows))
        self.runs.add()

    def text(self) -> str:
        """The whole exposition."""
        lines = []
        for metric in sorted(self._all, key=lambda one: one.name):
            lines += [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
