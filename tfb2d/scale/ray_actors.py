"""Spreads numbered pieces of work over Ray's actors, and ends also when actors, workers or machines die.

The pieces are the checkpoint. Each leaves a file, written atomically, and doing it twice leaves the same bytes. So a piece
whose actor died is given to another actor, and nothing has to be known of what the dead one did.

This is Ray Core and not a pool of Ray Data: there a killed actor stays in its fixed pool, and with a pool of one the job
waits for ever (https://github.com/ray-project/ray/issues/62746). An actor that Ray restarts also keeps its work to itself
while no machine has room for it. Here work is given to living actors alone.
"""

import logging
import platform
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from tfb2d.config.label import RayConfig
from tfb2d.errors import DataError, UserError
from tfb2d.scale.ray_cluster import ClusterError, connected, last_line, resources

AHEAD = 2  # pieces an actor holds: one in work, one waiting, so that it never waits for the driver
DEATHS = 5  # actors that may die over one piece, or in a row before any is ready
PATIENCE = 60.0  # seconds between two notes that no machine has room

_log = logging.getLogger(__name__)


class Job(Protocol):
    """Describes the work; it is sent to the actors, so it holds paths and numbers alone."""

    def start(self) -> Callable[[int], Any]:
        """Loads what the work needs; returns the function that does a piece."""


class Worker:
    """Works in an actor. It loads with its first piece, so that what is wrong comes back as that piece's answer."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._work: Callable[[int], Any] | None = None

    def ready(self) -> None:
        """Answers once the actor's process is there."""

    def do(self, piece: int) -> tuple[Any, str]:
        """Does a piece; returns what the work returned, and what is wrong with its input or surroundings, or ""."""
        try:
            if self._work is None:
                self._work = self._job.start()
            return self._work(piece), ""
        except (UserError, OSError) as error:
            return None, f"{error} (on {platform.node()})"


@dataclass(eq=False)
class _Actor:
    """An actor, whether its process is there, and the pieces that it has, the first of them in work."""

    handle: Any
    ready: bool = False
    pieces: list[int] = field(default_factory=list)


def run_on_actors(job: Job, pieces: Iterable[int], config: RayConfig) -> Iterator[tuple[int, Any]]:
    """Does pieces of a job on Ray's actors. Memory does not grow with the pieces: each actor holds at most AHEAD.

    Yields:
      A piece's index and what the work returned, in the order in which they end; each piece once.

    Raises:
      ClusterError: Ray cannot be reached, actors cannot start, or a piece killed DEATHS actors.
      DataError: a piece's work raised a UserError or an OSError; the message names the machine.
    """
    waiting = iter(pieces)
    first = next(waiting, None)
    if first is None:
        return
    with connected(config) as ray:
        pool = _Pool(ray, job, config)
        try:
            yield from pool.run(chain([first], waiting))
        finally:
            pool.close()


class _Pool:
    """Holds the actors and the answers that are due."""

    def __init__(self, ray: Any, job: Job, config: RayConfig) -> None:
        self._ray = ray
        self._job = job
        count, self._options = resources(ray, config)
        self._class = ray.remote(Worker).options(max_restarts=0, max_task_retries=0, **self._options)
        self._actors: list[_Actor] = []
        self._due: dict[Any, tuple[_Actor, int | None]] = {}  # the piece by its answer's reference; None is the start
        self._next: deque[int] = deque()  # pieces that wait for an actor: those of dead actors, else one
        self._deaths: Counter[int | None] = Counter()
        for _ in range(count):
            self._start()

    def run(self, pieces: Iterator[int]) -> Iterator[tuple[int, Any]]:
        """See `run_on_actors`."""
        while True:
            self._hand_out(pieces)
            if not self._next and all(piece is None for _, piece in self._due.values()):
                return
            done, _ = self._ray.wait(list(self._due), num_returns=1, timeout=PATIENCE)
            for reference in done:
                yield from self._take(reference)
            if not (done or any(actor.ready for actor in self._actors)):
                sizes = {name: value for name, value in self._options.items() if isinstance(value, int | float)}
                _log.warning("no machine of the Ray cluster has room for an actor (%s); waiting", sizes)

    def close(self) -> None:
        """Ends the actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)

    def _start(self) -> None:
        actor = _Actor(self._class.remote(self._job))
        self._actors.append(actor)
        self._due[actor.handle.ready.remote()] = (actor, None)

    def _hand_out(self, pieces: Iterator[int]) -> None:
        for actor in [*self._actors, None]:
            while True:
                if not self._next and (piece := next(pieces, None)) is not None:
                    self._next.append(piece)
                if actor is None or not (actor.ready and self._next and len(actor.pieces) < AHEAD):
                    break
                piece = self._next.popleft()
                actor.pieces.append(piece)
                self._due[actor.handle.do.remote(piece)] = (actor, piece)

    def _take(self, reference: Any) -> Iterator[tuple[int, Any]]:
        actor, piece = self._due[reference]
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # a fault of the code: its traceback is what helps
            raise error.cause from error
        except self._ray.exceptions.RayError as error:  # the actor, its process or its machine is gone
            self._bury(actor, error)
            return
        del self._due[reference]
        if piece is None:
            actor.ready = True
            self._deaths.pop(None, None)
            return
        actor.pieces.remove(piece)
        result, wrong = answer
        if wrong:
            raise DataError(wrong)
        yield piece, result

    def _bury(self, actor: _Actor, error: Exception) -> None:
        """Gives the pieces of a dead actor to others, and starts another actor."""
        in_work = actor.pieces[0] if actor.pieces else None
        self._deaths[in_work] += 1
        if self._deaths[in_work] >= DEATHS:
            what = "actors cannot start" if in_work is None else f"piece {in_work} ended {DEATHS} actors"
            raise ClusterError(f"Ray: {what}; the last reason: {last_line(error)}") from error
        _log.warning("an actor of Ray has died, another does its work: %s", last_line(error))
        self._due = {key: due for key, due in self._due.items() if due[0] is not actor}
        self._actors.remove(actor)
        self._next.extendleft(reversed(actor.pieces))
        self._start()
