"""An answer in steps, so that requests which are there at the same time can share one session run.

A step is a generator: it checks a request, yields the run that it needs, is sent the outputs, and returns the answer. What
checks, counts and logs a request is the same code whether it runs `alone` or `together` with others.
"""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfb2d.serving.server.errors import ServingError

Run = Callable[[Mapping[str, np.ndarray], tuple[str, ...], float | None], list[np.ndarray]]
Outputs = list[np.ndarray] | Exception  # or what the run raised
T = TypeVar("T")


class Work(NamedTuple):
    """A session run that a step asks for.

    Attributes:
      run: what runs it.
      feeds: tensor name -> array.
      fetches: tensor names.
      seconds: time left; None is no limit.
      joins: whether rows are independent, so that rows of other requests may run along.
    """

    run: Run
    feeds: dict[str, np.ndarray]
    fetches: tuple[str, ...]
    seconds: float | None
    joins: bool

    def alone(self) -> Outputs:
        """The outputs of this run by itself."""
        try:
            return self.run(self.feeds, self.fetches, self.seconds)
        except Exception as error:
            return error

    def rows(self) -> int:
        """How many there are, where they can join others; 0 where they cannot, or where there is no time left."""
        if self.seconds is not None and self.seconds <= 0:
            return 0
        sizes = {array.shape[0] if array.ndim else 0 for array in self.feeds.values()} if self.joins else ()
        return sizes.pop() if len(sizes) == 1 else 0

    def kind(self) -> Hashable:
        """Runs of one kind can be one run."""
        return self.run, self.fetches, tuple((name, one.dtype, one.shape[1:]) for name, one in self.feeds.items())


Step = Generator[Work, list[np.ndarray], T]


def alone(step: Step[T]) -> T:
    """The answer of a step that shares no run.

    Raises:
      What the step raises: ServingError, or what nobody foresaw.
    """
    try:
        work = next(step)
        while True:
            work = _go_on(step, work.alone())
    except StopIteration as end:
        return end.value


def together(steps: Sequence[Step[T]]) -> list[T | Exception]:
    """The answers, or what was raised instead, of steps of one run each, which they share where they can."""
    answers: list[Any] = [None] * len(steps)
    kinds: dict[Hashable, list[tuple[int, Work]]] = {}

    def keep(number: int, advance: Callable[[], Work]) -> Work | None:
        try:
            return advance()
        except StopIteration as end:
            answers[number] = end.value
        except ServingError as error:
            error.__context__ = None  # its frames, like the error's own, hold the request and these answers: a cycle
            answers[number] = error.with_traceback(None)
        except Exception as error:
            answers[number] = error
        return None

    for number, step in enumerate(steps):
        work = keep(number, step.__next__)
        if work is not None:
            kinds.setdefault(work.kind() if work.rows() else number, []).append((number, work))
    for parts in kinds.values():
        for (number, _), outputs in zip(parts, _shared([work for _, work in parts]), strict=True):
            if keep(number, partial(_go_on, steps[number], outputs)) is not None:
                raise AssertionError("a step asked for a second run")
    return answers


def _go_on(step: Step[T], outputs: Outputs) -> Work:
    try:
        return step.throw(outputs) if isinstance(outputs, Exception) else step.send(outputs)
    finally:
        del outputs  # an exception's traceback holds this frame


def _shared(works: Sequence[Work]) -> list[Outputs]:
    """Outputs of runs of one kind, as one run; one by one where that fails, for only some may be at fault."""
    found = _joined(works) if len(works) > 1 else None
    return [work.alone() for work in works] if found is None else found


def _joined(works: Sequence[Work]) -> list[Outputs] | None:
    first = works[0]
    limits = [work.seconds for work in works if work.seconds is not None]
    longest = max(limits) if len(limits) == len(works) else None
    ends = np.cumsum([work.rows() for work in works])
    try:
        feeds = {name: np.concatenate([work.feeds[name] for work in works]) for name in first.feeds}
        outputs = first.run(feeds, first.fetches, longest)
        if not outputs or any(array.shape[:1] != (ends[-1],) for array in outputs):
            return None
        return [list(parts) for parts in zip(*(np.split(array, ends[:-1]) for array in outputs), strict=True)]
    except Exception:
        return None
