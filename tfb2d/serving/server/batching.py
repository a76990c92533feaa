"""Batches requests as TensorFlow Serving's BatchingParameters say; its run takes the place of the session's.

There is a queue for each (version, fed tensors, fetched tensors); all share the threads. A batch leaves when it is full,
or `batch_timeout_micros` after its first request. Where that is 0 and a batch thread is idle, a request runs at once, in
its own thread, which saves two hand-overs. Semantics and words: tensorflow_serving/batching/batching_session.cc and
tensorflow's shared_batch_scheduler.h.
"""

import collections
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from tfb2d.serving.server.errors import Code, StatusError, invalid, timed_out
from tfb2d.serving.server.steps import Run
from tfb2d.serving.server.textprotos import BatchingParameters


@dataclass
class _Task:
    feeds: Mapping[str, np.ndarray]
    size: int
    deadline: float | None
    answer: Future = field(default_factory=Future)


@dataclass
class _Batch:
    opened: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0


@dataclass
class _Queue:
    run: Run
    fetches: tuple[str, ...]
    batches: collections.deque[_Batch] = field(default_factory=collections.deque)


class Batcher:
    """Keeps the shared threads and all queues; `observe` gets each batch's seconds in its queue and its rows."""

    def __init__(self, parameters: BatchingParameters, observe: Callable[[float, int], None]) -> None:
        self.parameters, self.observe = parameters, observe
        self._queues: dict[tuple, _Queue] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._idle = max(1, parameters.num_batch_threads)  # how many more batches may run
        for number in range(self._idle):
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def wrap(self, run: Run) -> Run:
        """Returns a run that batches."""
        return functools.partial(self._submit, run)

    def forget(self, run: Run) -> None:
        """Drops the queues of a run that is closed."""
        with self._changed:
            self._queues = {key: queue for key, queue in self._queues.items() if queue.run != run}

    def _submit(
        self, run: Run, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...], seconds: float | None
    ) -> list[np.ndarray]:
        size, limit = _task_size(feeds), self.parameters.max_batch_size
        if not size:  # an official server never answers this one; running it alone is what the client meant
            return run(feeds, fetches, seconds)
        if size > limit:
            raise invalid(f"Task size {size} is larger than maximum input batch size {limit}")
        deadline = None if seconds is None else time.monotonic() + seconds
        step = self.parameters.execution_size
        tasks = [
            _Task({key: array[at : at + step] for key, array in feeds.items()}, min(step, size - at), deadline)
            for at in range(0, size, step)
        ]
        alone = self._enqueue(run, tuple(sorted(feeds)), fetches, tasks)
        if alone is not None:
            self._finish(*alone)
        parts = [self._wait(task) for task in tasks]
        return parts[0] if len(parts) == 1 else [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    @staticmethod
    def _wait(task: _Task) -> list[np.ndarray]:
        left = None if task.deadline is None else max(0.0, task.deadline - time.monotonic())
        try:
            return task.answer.result(left)
        except TimeoutError:
            raise timed_out() from None

    def _enqueue(
        self, run: Run, names: tuple[str, ...], fetches: tuple[str, ...], tasks: Sequence[_Task]
    ) -> tuple[_Queue, _Batch] | None:
        """Puts the tasks into their queue, or returns a batch of the only one, for the caller to run."""
        limit = self.parameters.max_enqueued_batches
        with self._changed:
            queue = self._queues.setdefault((run, names, fetches), _Queue(run, fetches))
            at_once = not self.parameters.batch_timeout_micros and self._idle and len(tasks) == 1
            if at_once and not any(other.batches for other in self._queues.values()):
                self._idle -= 1
                return queue, _Batch(time.monotonic(), list(tasks), tasks[0].size)
            needed, room = 0, self._room(queue)
            for task in tasks:
                if task.size > room:
                    needed, room = needed + 1, self.parameters.execution_size
                room -= task.size
            if needed and len(queue.batches) + needed > limit:
                full = "The batch scheduling queue to which this task was submitted is full"
                now = f"currently {len(queue.batches)} batches enqueued and max_enqueued_batches is {limit}"
                raise StatusError(Code.UNAVAILABLE, f"{full}; {now}")
            for task in tasks:
                if task.size > self._room(queue):
                    queue.batches.append(_Batch(time.monotonic()))
                queue.batches[-1].tasks.append(task)
                queue.batches[-1].size += task.size
            self._changed.notify()
        return None

    def _room(self, queue: _Queue) -> int:
        return self.parameters.execution_size - queue.batches[-1].size if queue.batches else 0

    def stop(self) -> None:
        """Ends the threads."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self) -> tuple[_Queue, _Batch] | None:
        """Waits for a batch that is full, closed or old enough; oldest first. None at the end. Holds the lock."""
        timeout = self.parameters.batch_timeout_micros / 1e6
        while not self._stopped:
            now = time.monotonic()
            fronts = [(queue.batches[0].opened, queue) for queue in self._queues.values() if queue.batches]
            wake = None
            for opened, queue in sorted(fronts, key=lambda front: front[0]) if self._idle else ():
                front = queue.batches[0]
                closed = len(queue.batches) > 1 or front.size >= self.parameters.execution_size
                if closed or now - opened >= timeout:
                    self._idle -= 1
                    return queue, queue.batches.popleft()
                wake = min(opened + timeout - now, wake or 60.0)
            self._changed.wait(wake)
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                due = self._next()
                if due is None:
                    return
                self._changed.notify()  # another batch may be due, and this thread is busy now
            self._finish(*due)

    def _finish(self, queue: _Queue, batch: _Batch) -> None:
        """Runs a batch that counts as running, and lets the next one run."""
        try:
            self._run(queue, batch)
        except StatusError as error:
            _fail(batch.tasks, error)
        except Exception as problem:  # the threads serve every model: none may die of a batch
            _fail(batch.tasks, StatusError(Code.INTERNAL, f"{type(problem).__name__} in a batch"))
        finally:
            with self._changed:
                self._idle += 1
                self._changed.notify()

    def _run(self, queue: _Queue, batch: _Batch) -> None:
        now = time.monotonic()
        tasks = [task for task in batch.tasks if task.deadline is None or task.deadline > now]
        if not tasks:
            return _fail(batch.tasks, timed_out())
        rows = sum(task.size for task in tasks)
        padded = next((size for size in self.parameters.allowed_batch_sizes if size >= rows), rows)
        self.observe(now - batch.opened, padded)
        parts = {name: [task.feeds[name] for task in tasks] for name in sorted(tasks[0].feeds)}
        feeds = {name: self._join(name, arrays, padded - rows) for name, arrays in parts.items()}
        ends = [task.deadline for task in tasks if task.deadline is not None]
        outputs = queue.run(feeds, queue.fetches, max(ends) - now if len(ends) == len(tasks) else None)
        _check_outputs(outputs, padded)
        start = 0
        for task in tasks:
            task.answer.set_result([array[start : start + task.size] for array in outputs])
            start += task.size
        _fail(batch.tasks, timed_out())

    def _join(self, name: str, parts: list[np.ndarray], padding: int) -> np.ndarray:
        if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            if not self.parameters.pad_variable_length_inputs:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set"
                    " pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal"
                    " dimensions starting with the first dim.",
                )
            if any(part.ndim != parts[0].ndim for part in parts):
                raise invalid(f"Tensors with name '{name}' from different tasks have different rank")
            widest = np.max([part.shape for part in parts], axis=0)
            parts = [_pad(part, widest) for part in parts]
        if padding:
            parts = [*parts, np.repeat(parts[0][:1], padding, axis=0)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _task_size(feeds: Mapping[str, np.ndarray]) -> int:
    sizes = set()
    for array in feeds.values():
        if not array.ndim:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop() if sizes else 0


def _pad(array: np.ndarray, widest: np.ndarray) -> np.ndarray:
    """Fills up with the tensor's own first element, as the official server does: a padded title is a title, not ""."""
    empty = b"" if array.dtype == object else 0
    padded = np.full((array.shape[0], *widest[1:]), array.flat[0] if array.size else empty, array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


def _check_outputs(outputs: Sequence[np.ndarray], rows: int) -> None:
    for array in outputs:
        if not np.ndim(array):
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if array.shape[0] != rows:
            text = "does not equal the sum of the 0th dimension sizes of the input tensors"
            raise StatusError(Code.FAILED_PRECONDITION, f"Batched output tensor's 0th dimension {text}")


def _fail(tasks: Sequence[_Task], error: StatusError) -> None:
    for task in tasks:
        if not task.answer.done():
            task.answer.set_exception(error)
