"""Sampled requests and answers on disk: PredictionLog in TFRecord files, as TensorFlow Serving's logging_config writes.

A request's thread only puts the message into a bounded queue; a full queue, a full folder or a broken disk loses log
entries, never a request. Files grow under a `.part` name and are renamed when they are complete (every minute, or 16 MB),
so that a reader of `*.tfrecord` never meets half a record.
"""

import contextlib
import logging
import os
import queue
import random
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfb2d.serving.server.configuration import LogSettings, ModelSettings
from tfb2d.serving.server.metrics import Metrics
from tfb2d.serving.server.options import FlagError, Options

_log = logging.getLogger(__name__)
_QUEUE = 1024  # entries
_QUEUE_BYTES = 64 << 20
_FILE_BYTES = 16 << 20
_FILE_SECONDS = 60.0
_CLOSE_SECONDS = 10.0


class RequestLog:
    """Writes the log.

    Args:
      folder: takes `<model>-<time>-<process>-<number>.tfrecord`; the process with a random part, since servers in
        containers have equal ids and may share a folder.
      rate: share of the requests, sampled at random.
      max_bytes: logging pauses while the folder holds more.
      tags: the SavedModel tags, for the metadata.
      metrics: counts what was logged and what was lost.
      prefix: what file names begin with.
    """

    def __init__(
        self, folder: str, rate: float, max_bytes: int, tags: list[str], metrics: Metrics, prefix: str = ""
    ) -> None:
        self._folder = Path(folder)
        self._prefix = prefix
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rate = rate
        self._max_bytes = max_bytes
        self._tags = tags
        self._metrics = metrics
        self._queue: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_QUEUE)
        self._queued = 0  # bytes
        self._lock = threading.Lock()  # of that: what is lost of it once is never put right
        self._process = f"{os.getpid()}.{secrets.token_hex(3)}"
        self._random = random.Random()
        self._files: dict[str, tuple[tf.io.TFRecordWriter, Path, float]] = {}
        self._sizes: dict[str, int] = {}
        self._number = 0
        self._used = (0.0, 0)  # when the folder was measured, its bytes
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def wants(self) -> bool:
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
        record = entry.SerializeToString()
        try:
            with self._lock:
                if self._queued + len(record) > _QUEUE_BYTES:
                    raise queue.Full
                self._queue.put_nowait((model, record))
                self._queued += len(record)
        except queue.Full:
            self._metrics.logged.add(model, "RESOURCE_EXHAUSTED")

    def close(self) -> None:
        """Writes what is queued and completes the files."""
        with contextlib.suppress(queue.Full):  # of a disk that hangs, which must not hold the server back
            self._queue.put(None, timeout=_CLOSE_SECONDS)
            self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=1.0)
                if item is None:
                    return self._complete(float("inf"))
                self._take(*item)
            except queue.Empty:
                pass
            self._complete(time.monotonic() - _FILE_SECONDS)

    def _take(self, model: str, record: bytes) -> None:
        with self._lock:
            self._queued -= len(record)
        try:
            status = "OK" if self._write(model, record) else "RESOURCE_EXHAUSTED"
        except Exception as error:  # a full disk must not end the thread; the entry is lost and counted
            _log.warning("request log: %s", type(error).__name__)
            status = "UNKNOWN"
        self._metrics.logged.add(model, status)

    def _write(self, model: str, record: bytes) -> bool:
        if self._full():
            return False
        if model not in self._files:
            self._number += 1
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            plain = "".join(char if char.isalnum() or char in "-_" else "_" for char in model)
            path = self._folder / f"{self._prefix}{plain}-{stamp}-{self._process}-{self._number:05d}.tfrecord"
            self._files[model] = (tf.io.TFRecordWriter(f"{path}.part"), path, time.monotonic())
            self._sizes[model] = 0
        self._files[model][0].write(record)
        self._sizes[model] += len(record) + 16
        if self._sizes[model] >= _FILE_BYTES:
            self._complete(float("inf"), model)
        return True

    def _complete(self, opened_before: float, only: str | None = None) -> None:
        for model, (writer, path, opened) in list(self._files.items()):
            if opened <= opened_before and only in (None, model):
                del self._files[model]
                try:
                    try:
                        writer.close()
                    finally:  # what a full disk did not take is missing at the end; readers bear that
                        os.replace(f"{path}.part", path)
                except Exception as error:  # somebody took the file or the folder away, or the disk is full
                    _log.warning("request log: a file was not completed: %s", type(error).__name__)

    def _full(self) -> bool:
        measured, used = self._used
        if time.monotonic() - measured > 1.0:
            used = 0
            for path in self._folder.glob("*.tfrecord*"):
                with contextlib.suppress(FileNotFoundError):  # others take files away
                    used += path.stat().st_size
            self._used = (time.monotonic(), used)
        return used >= self._max_bytes


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
        return log if log is not None and log.wants() else None

    def configure(self, models: Mapping[str, ModelSettings]) -> None:
        """Takes on the models' logging_configs."""
        before = self._own
        own: dict[str, tuple[LogSettings, RequestLog | None]] = {}
        for name, settings in models.items():
            if settings.log is None:
                continue
            if name in before and before[name][0] == settings.log and before[name][1] is not None:
                own[name] = before[name]
            else:
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
