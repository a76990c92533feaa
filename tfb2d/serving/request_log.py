"""Logs a sample of a client's requests and answers, in the files that `tfb2d.monitor` reads.

It works in front of any server. The open-source TensorFlow Serving has no request logging of its own: it refuses a
`logging_config` at start.
"""

import atexit
import logging
import random
import time
from pathlib import Path
from typing import Any

from tfb2d.serving import wire
from tfb2d.serving.record_files import Limits, RecordFiles

_log = logging.getLogger(__name__)


class RequestLog:
    """Writes a random sample of Predict requests, with their answers, as PredictionLog records in TFRecord files.

        log = RequestLog("/var/log/student", rate=0.01)
        client = Client("127.0.0.1:8500", model="student", request_log=log)

    Clients and threads may share a log. A call only copies its messages into a bounded queue, from which a background
    thread writes. Logging never fails a call; what cannot be kept is counted. The log is as private as the requests.

    Args:
      folder: takes the files; made where it does not exist.
      rate: share of the requests that are logged, from 0 to 1.
      limits: bounds of the queue, the files and the folder.

    Raises:
      ValueError: a rate outside of 0 to 1.
      OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | Path, rate: float = 0.01, limits: Limits | None = None) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}; a share of the requests lies between 0 and 1")
        self.rate = rate
        self._files = RecordFiles(folder, "client-", limits)
        self._random = random.Random()
        atexit.register(self.close)

    @property
    def counts(self) -> dict[str, int]:
        """Returns how many records were `written`, `dropped` (queue or folder full) and `failed` (refused by the disk)."""
        return {name: getattr(self._files, name) for name in ("written", "dropped", "failed")}

    def sample(self, model: str, request: Any, response: Any) -> None:
        """Logs `wire`'s request to a model and its answer if they are drawn; never waits and never raises."""
        if self._random.random() >= self.rate:
            return
        try:
            record = wire.MESSAGES["PredictionLog"]()
            record.predict_log.request.CopyFrom(request)
            record.predict_log.response.CopyFrom(response)
            about = record.log_metadata
            about.model_spec.name = model
            about.model_spec.version.value = response.model_spec.version.value
            about.sampling_config.sampling_rate = self.rate
            about.timestamp_secs = int(time.time())
            self._files.put(record.SerializeToString())
        except Exception as error:  # a request that was answered must not fail because of its log
            _log.warning("a request was not logged: %s", type(error).__name__)

    def close(self) -> None:
        """Writes what is queued and completes the file, within ten seconds. Also done when the process exits."""
        atexit.unregister(self.close)
        self._files.close()

    def __enter__(self) -> "RequestLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
