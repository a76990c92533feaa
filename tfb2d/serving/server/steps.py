"""Lets requests that are there at the same time share a session run; `grpc_server` brings them together.

A step is a generator that answers one request. It checks the request, yields the run that it needs, is sent the run's
outputs, and returns the answer. The same step can run `alone`, or `together` with others that need the same kind of run.
"""

import logging
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfb2d.serving.server.errors import Code, StatusError, where

Run = Callable[[Mapping[str, np.ndarray], tuple[str, ...], float | None], list[np.ndarray]]
Outputs = list[np.ndarray] | Exception  # or what the run raised
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Work(NamedTuple):
    """Describes a session run that a step needs."""

    run: Run  # what runs it
    feeds: dict[str, np.ndarray]  # by tensor name
    fetches: tuple[str, ...]  # tensor names
    seconds: float | None  # time left; None is no limit
    joins: bool  # whether rows are independent, so that rows of other requests may run along

    def alone(self) -> Outputs:
        """Returns the outputs of this run by itself."""
        try:
            return self.run(self.feeds, self.fetches, self.seconds)
        except Exception as error:  # the step gets it, and raises what its caller shall see
            return error

    def rows(self) -> int:
        """Returns how many rows can join others: 0 where the shape forbids it, or where no time is left."""
        if self.seconds is not None and self.seconds <= 0:
            return 0
        sizes = {array.shape[0] if array.ndim else 0 for array in self.feeds.values()} if self.joins else ()
        return sizes.pop() if len(sizes) == 1 else 0

    def kind(self) -> Hashable:
        """Returns a key: runs with equal keys can be one run."""
        return self.run, self.fetches, tuple((name, a.dtype, a.shape[1:]) for name, a in self.feeds.items())


Step = Generator[Work, list[np.ndarray], T]


def alone(step: Step[T]) -> T:
    """Returns the answer of a step that shares no run."""
    try:
        work = next(step)
        while True:
            work = _resume(step, work.alone())
    except StopIteration as end:
        return end.value


def together(steps: Sequence[Step[T]]) -> list[T | Exception]:
    """Returns the answers of steps that need a run each and share it where they can; an error stands for its answer."""
    answers: list[Any] = [None] * len(steps)
    kinds: dict[Hashable, list[tuple[int, Work]]] = {}

    def advance(index: int, resume: Callable[[], Work]) -> Work | None:
        """Runs a step to its next run; keeps its answer where it ends."""
        try:
            return resume()
        except StopIteration as end:
            answers[index] = end.value
        except StatusError as error:
            error.__context__ = None  # its frames, like the error's own, hold the request and these answers: a cycle
            answers[index] = error.with_traceback(None)
        except Exception as error:
            answers[index] = error
        return None

    for index, step in enumerate(steps):
        work = advance(index, step.__next__)
        if work is not None:
            kinds.setdefault(work.kind() if work.rows() else index, []).append((index, work))
    for parts in kinds.values():
        for (index, _), outputs in zip(parts, _shared([work for _, work in parts]), strict=True):
            if advance(index, partial(_resume, steps[index], outputs)) is not None:
                raise AssertionError("a step needs a second run")
    return answers


def _resume(step: Step[T], outputs: Outputs) -> Work:
    try:
        return step.throw(outputs) if isinstance(outputs, Exception) else step.send(outputs)
    finally:
        del outputs  # an exception's traceback holds this frame


def _shared(works: Sequence[Work]) -> list[Outputs]:
    """Returns the outputs of runs of a kind, as a single run.

    Where the shared run fails, each half runs by itself, and so on: a bad request among 32 costs 11 runs.
    """
    if len(works) == 1:
        return [works[0].alone()]
    first, limits = works[0], [work.seconds for work in works if work.seconds is not None]
    longest = max(limits) if len(limits) == len(works) else None
    ends = np.cumsum([work.rows() for work in works])
    try:
        feeds = {name: np.concatenate([work.feeds[name] for work in works]) for name in first.feeds}
        outputs = first.run(feeds, first.fetches, longest)
    except StatusError as error:
        if error.code == Code.DEADLINE_EXCEEDED:  # the longest time is over: none has any left
            return [StatusError(error.code, error.message) for _ in works]
        _log.info("a run of %d requests was refused (%s); its halves run by themselves", len(works), error.code.name)
    except Exception as error:
        _log.error("a run of %d requests failed; its halves run by themselves: %s", len(works), where(error))
    else:
        if outputs and all(array.shape[:1] == (ends[-1],) for array in outputs):
            return [list(parts) for parts in zip(*(np.split(array, ends[:-1]) for array in outputs), strict=True)]
        names = ", ".join(first.fetches)
        _log.warning("outputs of %s do not have a row for each input row: its requests run singly", names)
        return [work.alone() for work in works]
    half = len(works) // 2
    return _shared(works[:half]) + _shared(works[half:])
