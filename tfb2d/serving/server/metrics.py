"""Counts what the server does, under TensorFlow Serving's metric names; `api` counts and `rest` shows.

prometheus_client counts. Its own text format is not used: it would rename the counters (`request_count_total`, where
dashboards ask for `request_count`), and add a `_created` series to each.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SERVING = ":tensorflow:serving:"  # TensorFlow's metric paths, with ':' in the place of '/'
_BUCKETS = [10 * 1.8**k for k in range(33)]  # as in TensorFlow Serving
_MAX_SERIES = 1_000  # label values hold model names from requests: a client must not fill the memory with them


class Series:
    """Is a counter or histogram, with a series per set of label values; those beyond 1,000 are dropped."""

    def __init__(self, metric: Counter | Histogram) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Counter | Histogram] = {}

    def _child(self, labels: tuple[str, ...]) -> Counter | Histogram | None:
        child = self._children.get(labels)
        if child is None and len(self._children) < _MAX_SERIES:
            child = self._children[labels] = self._metric.labels(*labels) if labels else self._metric
        return child

    def add(self, *labels: str, count: int = 1) -> None:
        """Adds to a counter."""
        child = self._child(labels)
        if isinstance(child, Counter):
            child.inc(count)

    def observe(self, value: float, *labels: str) -> None:
        """Adds an observation to a histogram."""
        child = self._child(labels)
        if isinstance(child, Histogram):
            child.observe(value)


class Metrics:
    """Holds the server's metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter, histogram = self._counter, self._histogram
        self.requests = counter("request_count", "The total number of requests.", "model_name", "status")
        self.latency = histogram("request_latency", "Microseconds of a request.", "model_name", "API", "entrypoint")
        self.runtime = histogram("runtime_latency", "Microseconds of a run.", "model_name", "API", "runtime")
        self.examples = histogram("request_example_counts", "The tensorflow.Examples of a request.", "model")
        self.examples_total = counter(
            "request_example_count_total", "The total number of tensorflow.Examples.", "model"
        )
        self.logged = counter("request_log_count", "The total number of requests logged.", "model_name", "status")
        self.warmup = histogram("model_warmup_latency", "Microseconds of a model's warm-up.", "model_path", "status")
        self.warmup_records = counter("model_warmup_records_read", "Warm-up records read.", "model_path", "status")
        self.queuing = histogram("batching_session:queuing_latency", "Microseconds that a request spent in the queue.")
        self.batch_rows = counter("batching:processed_batch_size_v2", "The rows of the batches that ran.", "batch_size")
        self.runs = counter("batching_session:wrapped_run_count", "Runs of the session behind the batches.")
        saved_model = ":tensorflow:cc:saved_model:"
        self.loads = counter("load_attempt_count", "Loads of a SavedModel.", "model_path", "status", prefix=saved_model)
        self.load_latency = counter("load_latency", "Microseconds of loads.", "model_path", prefix=saved_model)

    def _counter(self, name: str, text: str, *labels: str, prefix: str = _SERVING) -> Series:
        return Series(Counter(prefix + name, text, labels, registry=self._registry))

    def _histogram(self, name: str, text: str, *labels: str) -> Series:
        return Series(Histogram(_SERVING + name, text, labels, registry=self._registry, buckets=_BUCKETS))

    def batched(self, seconds: float, rows: int) -> None:
        """Counts a batch that left its queue."""
        self.queuing.observe(seconds * 1e6)
        self.batch_rows.add(str(rows))
        self.runs.add()

    def text(self) -> str:
        """Returns all metrics in Prometheus' text format, version 0.0.4."""
        lines = []
        for metric in sorted(self._registry.collect(), key=lambda metric: metric.name):
            name = metric.name + ("_total" if metric.name.endswith("_example_count") else "")
            lines.append(f"# TYPE {name} {metric.type}")
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    labels = ",".join(f'{key}="{_label(key, value)}"' for key, value in sample.labels.items())
                    shown = name if metric.type == "counter" else sample.name
                    lines.append(f"{shown}{{{labels}}} {sample.value:.12g}")
        return "\n".join(lines) + "\n"


def _label(key: str, value: str) -> str:
    if key == "le" and value != "+Inf":
        return f"{float(value):.6g}"
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
