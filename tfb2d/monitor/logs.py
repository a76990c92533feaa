"""Reads request logs as one stream of rows; counts damaged records and skips them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tfb2d.data.files import expand
from tfb2d.data.rejects import Rejects
from tfb2d.errors import DataError
from tfb2d.monitor.requests import Ignored, LoggedRequest, Unroller
from tfb2d.monitor.tfrecord import records

ABANDONED = 15 * 60  # seconds; writers complete a file after one minute, so an older one was killed
ROWS = 4096  # of a batch; a larger request is a batch of its own
CHARS = 1 << 24


@dataclass(frozen=True)
class Rows:
    """Rows of several requests, in the order of the log."""

    texts: list[list[bytes]]  # n texts a field, bytes
    scores: NDArray[np.float32]  # `[n, k]`; NaN where a score was not logged
    times: NDArray[np.int64]  # `[n]`, seconds since 1970
    requests: NDArray[np.int64]  # `[n]`, the index of the request in the log
    versions: NDArray[np.int64]  # `[n]`, the model's version

    def __len__(self) -> int:
        return len(self.times)


@dataclass
class Counts:
    """Counts the content of logs."""

    files: int = 0
    unfinished: int = 0  # files that are still being written, and were not read
    records: int = 0  # that could be read
    requests: int = 0  # of the records that were used
    rows: int = 0
    padding: int = 0
    ranked: int = 0  # requests that are rankings
    dated: int = 0  # requests with a time; the others get their file's
    # unreadable records, by reason; `broken.jsonl` has their file, record number and offset
    broken: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)  # readable records without rows, by reason
    models: Counter[str] = field(default_factory=Counter)  # rows by "name/version"


def log_files(patterns: Sequence[str]) -> tuple[list[Path], int]:
    """Returns the files of a log, by name, and the number of those that are still being written.

    A folder means all files in it. Files `*.part` are incomplete; they are read once ABANDONED seconds old, as their writer
    was killed. Raises DataError where there are no files.
    """
    paths: dict[Path, None] = {}  # keys are an ordered set
    unfinished = 0
    for pattern in patterns:
        folder = Path(pattern).expanduser()
        files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else expand([pattern])
        for path in files:
            if path.name.endswith(".part") and time.time() - path.stat().st_mtime < ABANDONED:
                unfinished += 1
            elif not path.name.startswith("."):
                paths[path] = None
    if not paths:
        hint = f"; {unfinished} are not complete yet (*.part): wait a minute" if unfinished else ""
        raise DataError(f"{', '.join(patterns)}: no log files{hint}")
    return list(paths), unfinished


class LogReader:
    """Reads logs: files, globs and folders, whose records an `unroller` makes rows of.

    `counts` is complete after reading. Unreadable records are listed in `out`, if it is given. Only what `model` and
    `version` answered is taken; "" and 0 take all.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        unroller: Unroller,
        out: Path | None = None,
        model: str = "",
        version: int = 0,
        progress: bool = True,
    ) -> None:
        self.counts = Counts()
        self._paths, self.counts.unfinished = log_files(patterns)
        self._unroller, self._out = unroller, out
        self._model, self._version, self._progress = model, version, progress

    def requests(self) -> Iterator[LoggedRequest]:
        """Yields the requests; raises DataError where no file holds one for this model."""
        counts, size = self.counts, sum(path.stat().st_size for path in self._paths)
        bar = tqdm(total=size, desc="logs", unit="B", unit_scale=True, disable=not self._progress, leave=False)
        with bar, Rejects(self._out, 1.0) as rejects:

            def broken(path: Path, number: int, offset: int, passed: int, reason: str) -> None:
                counts.broken[reason] += 1
                where = f"offset {offset}, " if offset >= 0 else ""
                rejects.add(path, number, f"{where}{passed} bytes", reason)

            for path in self._paths:
                counts.files += 1
                report = lambda *damage, path=path: broken(path, *damage)  # noqa: E731
                age = int(path.stat().st_mtime)
                for number, record in records(path, report, bar.update):
                    try:
                        request = self._unroller.read(record)
                    except Ignored as reason:
                        counts.records += 1
                        counts.ignored[str(reason)] += 1
                        continue
                    except ValueError as error:
                        report(number, -1, len(record), str(error))
                        continue
                    counts.records += 1
                    if self._model not in ("", request.model) or self._version not in (0, request.version):
                        counts.ignored["another model or version"] += 1
                        continue
                    self._count(request)
                    yield request if request.time else replace(request, time=age)
        if not counts.requests:
            raise DataError(f"no request for this model in {counts.files:,} files: {self.why()}")

    def rows(self) -> Iterator[Rows]:
        """Yields the rows, in batches; raises DataError where there are none."""
        waiting: list[LoggedRequest] = []
        rows = chars = first = 0
        for request in self.requests():
            waiting.append(request)
            rows += len(request.scores)
            chars += sum(sum(map(len, column)) for column in request.texts)
            if rows >= ROWS or chars >= CHARS:
                yield _joined(waiting, first)
                first += len(waiting)
                waiting, rows, chars = [], 0, 0
        if rows:
            yield _joined(waiting, first)
        if not self.counts.rows:
            raise DataError(f"no rows in the logs' {self.counts.requests:,} requests")

    def why(self) -> str:
        """Returns the five most frequent reasons why records have no rows."""
        both = self.counts.ignored + self.counts.broken
        return ", ".join(f"{count:,} {reason}" for reason, count in both.most_common(5)) or "they are empty"

    def _count(self, request: LoggedRequest) -> None:
        counts = self.counts
        counts.requests += 1
        counts.rows += len(request.scores)
        counts.padding += request.padding
        counts.ranked += request.ranked
        counts.dated += bool(request.time)
        counts.models[f"{request.model}/{request.version}"] += len(request.scores)


def _joined(requests: list[LoggedRequest], first: int) -> Rows:
    sizes = [len(request.scores) for request in requests]
    return Rows(
        [list(chain.from_iterable(columns)) for columns in zip(*(request.texts for request in requests), strict=True)],
        np.concatenate([request.scores for request in requests]),
        np.repeat(np.array([request.time for request in requests], np.int64), sizes),
        np.repeat(np.arange(first, first + len(requests)), sizes),
        np.repeat(np.array([request.version for request in requests], np.int64), sizes),
    )
