"""Keeps sampled requests and answers: PredictionLog in TFRecord files, as TensorFlow Serving's logging_config writes.

`api` hands them over after the answer. `RecordFiles` writes in the background: a full queue or folder, or a broken disk,
loses log entries, never a request.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from tensorflow_serving.apis import prediction_log_pb2

from tfb2d.serving.record_files import Limits, RecordFiles
from tfb2d.serving.server.configuration import LogSettings, ModelSettings
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.options import FlagError, Options

_log = logging.getLogger(__name__)
_STATUS = {"written": "OK", "dropped": "RESOURCE_EXHAUSTED", "failed": "UNKNOWN"}  # in the metric


class _Log(NamedTuple):
    settings: LogSettings
    files: RecordFiles | None  # None: they cannot be written


class RequestLogs:
    """Keeps the logs of all models; raises FlagError where the folder of --log_requests cannot be written to."""

    def __init__(self, options: Options, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tags = options.saved_model_tags.split(",")
        self._limits = Limits(folder_bytes=options.log_requests_max_mb << 20)
        self._shared = None
        if folder := options.log_requests:
            self._shared = LogSettings(os.path.join(folder, ""), options.log_requests_rate)
            try:
                RecordFiles(folder)  # raises at start, not at the first request
            except OSError as error:
                raise FlagError(f"--log_requests={folder} cannot be written: {error.strerror}") from None
        self._own: dict[str, LogSettings] = {}
        self._logs: dict[str, _Log] = {}  # by model
        self._lock = threading.Lock()

    def draws(self, model: str) -> bool:
        """Returns whether this request of a model is in the sample."""
        settings = self._own.get(model, self._shared)
        return settings is not None and random.random() < settings.rate

    def put(self, model: str, version: int, entry: prediction_log_pb2.PredictionLog) -> None:
        """Queues an entry; never waits."""
        log = self._open(model)
        if log is None:
            return
        data = entry.log_metadata
        data.model_spec.name = model
        data.model_spec.version.value = version
        data.sampling_config.sampling_rate = log.settings.rate
        data.saved_model_tags.extend(self._tags)
        data.timestamp_secs = int(time.time())
        if log.files is None:
            self._count(model, "failed")
        else:
            log.files.put(entry.SerializeToString())

    def _open(self, model: str) -> _Log | None:
        with self._lock:
            settings, log = self._own.get(model, self._shared), self._logs.get(model)
            if settings is None or (log is not None and log.settings == settings):
                return log
            folder, prefix = os.path.split(settings.prefix)
            plain = "".join(char if char.isalnum() or char in "-_" else "_" for char in model)
            files = None
            try:
                files = RecordFiles(folder, f"{prefix}{plain}-", self._limits, partial(self._count, model))
            except OSError as error:  # nor in the shared log: the operator did not ask for that
                _log.error("requests of %s are not logged: %s: %s", model, folder, error.strerror)
            log = self._logs[model] = _Log(settings, files)
            return log

    def _count(self, model: str, outcome: str) -> None:
        self._metrics.logged.add(model, _STATUS[outcome])

    def configure(self, models: Mapping[str, ModelSettings]) -> None:
        """Takes on the models' logging_configs."""
        own = {name: settings.log for name, settings in models.items() if settings.log is not None}
        with self._lock:
            self._own = own
            changed = [name for name, log in self._logs.items() if log.settings != own.get(name, self._shared)]
            closed = [self._logs.pop(name) for name in changed]
        _close(closed)

    def close(self) -> None:
        """Writes what is queued and completes the files."""
        with self._lock:
            closed, self._logs = list(self._logs.values()), {}
        _close(closed)


def _close(logs: Iterable[_Log]) -> None:
    for log in logs:
        if log.files is not None:
            log.files.close()
