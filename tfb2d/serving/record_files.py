"""Writes TFRecord files in a background thread, so that the caller never waits for a disk.

A record goes into a bounded queue. Where the queue or the folder is full, or the disk fails, the record is dropped and
counted. A file grows under a name that ends in `.part`. It is synced and renamed once it is complete, so a reader of
`*.tfrecord` never meets half a record.
"""

import contextlib
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tfb2d.serving.tfrecord import frame

_log = logging.getLogger(__name__)
_RECORDS = 4096  # records that the queue holds at most
_WARN_SECONDS = 60.0  # at least, between two warnings
_MEASURE_SECONDS = 1.0  # at least, between two measurements of the folder's size
_CLOSE_SECONDS = 10.0  # at most, that closing waits


@dataclass(frozen=True)
class Limits:
    """Bounds of the queue, the files and the folder."""

    queue_bytes: int = 64 << 20  # of records that may wait for the disk
    file_bytes: int = 16 << 20  # a file is complete once it is as large as this
    file_seconds: float = 60.0  # a file is complete once it is as old as this
    folder_bytes: int = 1 << 30  # records are dropped while the `*.tfrecord` and `*.part` files hold more than this


class RecordFiles:
    """Writes records to `<prefix><time>-<process>-<number>.tfrecord` in a folder, which is made where it does not exist.

    Several processes may share a folder: the process part holds random digits, since process ids repeat across containers.
    The thread starts at the first record. A process that forks should do so before that: threads do not survive a fork, so
    records of a child of the process that wrote are dropped.

    `notice` is called for each record with "written", "dropped" (the queue or the folder was full) or "failed" (the
    disk refused it); attributes of these names count them. Raises OSError where the folder cannot be made or written
    to.
    """

    def __init__(
        self,
        folder: str | Path,
        prefix: str = "",
        limits: Limits | None = None,
        notice: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._notice = notice
        self._folder, self._prefix, self._limits = Path(folder), prefix, limits or Limits()
        self._folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{self._folder} cannot be written to")
        self.written = self.dropped = self.failed = 0
        self._lock = threading.Lock()  # guards the queue's bytes, the counts and the thread's start
        self._pid = 0
        self._closed = False
        self._queue: queue.Queue[bytes | None] = queue.Queue(_RECORDS)
        self._queued = 0  # bytes
        self._number = 0
        self._file: tuple[FileIO, Path, float] | None = None  # with the time when it was opened
        self._size = 0  # bytes of whole records in the file
        self._folder_size, self._measured = 0, float("-inf")
        self._warned = float("-inf")

    def put(self, record: bytes) -> bool:
        """Queues a record without waiting; returns whether it was taken."""
        if self._closed or self._pid not in (0, os.getpid()):  # a forked child may have inherited a locked lock
            self._count("dropped")
            return False
        with self._lock:
            if not self._pid:
                self._start()
            taken = self._queued + len(record) <= self._limits.queue_bytes and not self._queue.full()
            if taken:
                self._queued += len(record)
                self._queue.put_nowait(record)
            else:
                self._count("dropped")
        return taken

    def _count(self, outcome: str) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)
        self._notice(outcome)

    def close(self) -> None:
        """Writes what is queued and completes the file; waits at most ten seconds. Closing twice is fine."""
        running = self._pid == os.getpid() and not self._closed
        self._closed = True
        if running:
            with contextlib.suppress(queue.Full):  # a disk that hangs must not keep the process from ending
                self._queue.put(None, timeout=_CLOSE_SECONDS)
                self._thread.join(_CLOSE_SECONDS)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._process = f"{self._pid}.{secrets.token_hex(3)}"
        self._thread = threading.Thread(target=self._work, name="record-files", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                record = self._queue.get(timeout=min(1.0, self._limits.file_seconds))
                if record is None:
                    return self._complete()
                self._take(record)
            if self._file is not None:
                old = time.monotonic() - self._file[2] >= self._limits.file_seconds
                if old or self._size >= self._limits.file_bytes:
                    self._complete()

    def _take(self, record: bytes) -> None:
        try:
            full = self._folder_bytes() >= self._limits.folder_bytes
            if not full:
                self._write(frame(record))
        except OSError as error:
            self._complete()  # the file is cut after its last whole record
            self._warn(error)
            outcome = "failed"
        else:
            outcome = "dropped" if full else "written"
        with self._lock:
            self._queued -= len(record)
            self._count(outcome)

    def _write(self, framed: bytes) -> None:
        if self._file is None:
            self._number += 1
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            path = self._folder / f"{self._prefix}{stamp}-{self._process}-{self._number:05d}.tfrecord"
            # unbuffered, so that a failure belongs to the record that met it
            self._file = FileIO(f"{path}.part", "xb"), path, time.monotonic()
            self._size = 0
        sent = 0
        while sent < len(framed):
            sent += self._file[0].write(framed[sent:])
        self._size += len(framed)

    def _complete(self) -> None:
        if self._file is None:
            return
        (file, path, _), self._file = self._file, None
        try:
            with file:
                file.truncate(self._size)
                os.fsync(file.fileno())
            if self._size:
                os.replace(f"{path}.part", path)
            else:
                os.remove(f"{path}.part")
        except OSError as error:  # the file or the folder was deleted, or the disk is full
            self._warn(error)

    def _folder_bytes(self) -> int:
        if time.monotonic() - self._measured > _MEASURE_SECONDS:
            self._folder_size = 0
            for pattern in ("*.tfrecord", "*.part"):
                for path in self._folder.glob(pattern):
                    with contextlib.suppress(FileNotFoundError):  # another process may delete files
                        self._folder_size += path.stat().st_size
            self._measured = time.monotonic()
        return self._folder_size

    def _warn(self, error: OSError) -> None:
        if time.monotonic() - self._warned > _WARN_SECONDS:
            self._warned = time.monotonic()
            _log.warning("%s: records are lost: %s", self._folder, error.strerror or type(error).__name__)
