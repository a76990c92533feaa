"""Sampled requests and answers on disk: PredictionLog in TFRecord files, as TensorFlow Serving's logging_config writes.

`RecordFiles` writes them in the background: a full queue or folder, or a broken disk, loses log entries, never a request.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Mapping

from tensorflow_serving.apis import prediction_log_pb2

from tfb2d.serving.record_files import Limits, RecordFiles
from tfb2d.serving.server.configuration import LogSettings, ModelSettings
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.options import FlagError, Options

_log = logging.getLogger(__name__)
_STATUS = {"written": "OK", "dropped": "RESOURCE_EXHAUSTED", "failed": "UNKNOWN"}  # count -> status in the metric


class RequestLog:
    """Writes the log of a folder: files `<prefix><model>-<time>-<process>-<number>.tfrecord`.

    Args:
      folder: takes the files; made where it does not exist.
      rate: share of the requests, sampled at random.
      max_bytes: logging pauses while the folder holds more.
      tags: the SavedModel tags, for the metadata.
      metrics: counts what was logged and what was lost.
      prefix: what file names begin with.

    Raises:
      OSError: the folder cannot be made or written to.
    """

    def __init__(
        self, folder: str, rate: float, max_bytes: int, tags: list[str], metrics: Metrics, prefix: str = ""
    ) -> None:
        self._folder, self._prefix, self._limits = folder, prefix, Limits(folder_bytes=max_bytes)
        self._rate = rate
        self._tags = tags
        self._metrics = metrics
        self._random = random.Random()
        self._lock = threading.Lock()
        self._files: dict[str, tuple[RecordFiles, dict[str, int]]] = {}  # by model, with the counts in the metric
        RecordFiles(folder)  # raises at start, not at the first request
        metrics.before_text.append(self.count)

    def draws(self) -> bool:
        """Returns whether this request is in the sample."""
        return self._random.random() < self._rate

    def put(self, model: str, version: int, entry: prediction_log_pb2.PredictionLog) -> None:
        """Queues an entry; never waits."""
        data = entry.log_metadata
        data.model_spec.name = model
        data.model_spec.version.value = version
        data.sampling_config.sampling_rate = self._rate
        data.saved_model_tags.extend(self._tags)
        data.timestamp_secs = int(time.time())
        with self._lock:
            if model not in self._files:
                plain = "".join(char if char.isalnum() or char in "-_" else "_" for char in model)
                try:
                    files = RecordFiles(self._folder, f"{self._prefix}{plain}-", self._limits)
                except OSError:  # somebody took the folder away
                    return self._metrics.logged.add(model, _STATUS["failed"])
                self._files[model] = files, dict.fromkeys(_STATUS, 0)
        self._files[model][0].put(entry.SerializeToString())

    def count(self) -> None:
        """Brings the metric up to what the files count."""
        with self._lock:
            for model, (files, before) in self._files.items():
                for name, status in _STATUS.items():
                    now = getattr(files, name)
                    if now > before[name]:
                        self._metrics.logged.add(model, status, count=now - before[name])
                    before[name] = now

    def close(self) -> None:
        """Writes what is queued and completes the files."""
        for files, _ in self._files.values():
            files.close()
        self.count()
        self._metrics.before_text.remove(self.count)


class RequestLogs:
    """The log of --log_requests, and the logs of models that have a logging_config of their own.

    Args:
      options: flags.
      metrics: see `RequestLog`.

    Raises:
      FlagError: the folder of --log_requests cannot be made.
    """

    def __init__(self, options: Options, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tags = options.saved_model_tags.split(",")
        self._size = options.log_requests_max_mb << 20
        self._shared = None
        if options.log_requests:
            try:
                self._shared = self._open(options.log_requests, options.log_requests_rate)
            except OSError as error:
                raise FlagError(f"--log_requests={options.log_requests} cannot be written: {error.strerror}") from None
        self._own: dict[str, tuple[LogSettings, RequestLog | None]] = {}  # None: its folder cannot be written

    def _open(self, folder: str, rate: float, prefix: str = "") -> RequestLog:
        return RequestLog(folder, rate, self._size, self._tags, self._metrics, prefix)

    def sampled(self, model: str) -> RequestLog | None:
        """Returns the log that this request of a model goes to, where it is in the sample."""
        own = self._own.get(model)
        log = own[1] if own else self._shared
        return log if log is not None and log.draws() else None

    def configure(self, models: Mapping[str, ModelSettings]) -> None:
        """Takes on the models' logging_configs."""
        before = self._own
        own: dict[str, tuple[LogSettings, RequestLog | None]] = {}
        for name, settings in models.items():
            if settings.log is None:
                continue
            if name in before and before[name][0] == settings.log and before[name][1] is not None:
                own[name] = before[name]
                continue
            folder, prefix = os.path.split(settings.log.prefix)
            try:
                own[name] = settings.log, self._open(folder, settings.log.rate, prefix)
            except OSError as error:  # nor in the shared log: the operator did not ask for that
                own[name] = settings.log, None
                _log.error("requests of %s are not logged: %s: %s", name, folder, error.strerror)
        self._own = own
        for name, kept in before.items():
            if kept[1] is not None and own.get(name) != kept:
                kept[1].close()

    def close(self) -> None:
        """Completes the files of all."""
        for log in (*(log for _, log in self._own.values()), self._shared):
            if log is not None:
                log.close()
