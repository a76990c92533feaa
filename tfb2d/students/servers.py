"""Training steps whose weights lie on parameter servers: tables are split over them by rows.

Each step a batch is split over the workers. A worker reads the rows of its n-grams from the servers, and returns
gradients: of tables a slice for each distinct row. The chief adds them up and moves the servers' weights, row-wise Adagrad
included. So a step is whole before the next begins, and the student is the same as of one process, up to the order of sums.
Workers that apply gradients whenever they are ready would be faster, and each run would give another student.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.cluster import Member
from tfb2d.config import TrainingConfig
from tfb2d.students.layers import ReplicaNoise
from tfb2d.students.model import Student, named_arrays
from tfb2d.students.optimizer import shards, summed
from tfb2d.students.replicas import count_noise, gradients_of, split
from tfb2d.students.rows import TrainingRows, ragged
from tfb2d.students.steps import Batch, Schedule, Steps

LEAST_TABLE = 4096  # rows of a table that is split; dense layers have fewer
PIECE = 2**13  # table rows that travel at once; a server holds its shard and a few pieces


class ServerSteps(Steps):
    """Takes steps under `ParameterServerStrategy`, with `tables_by_rows` as its partitioner; the chief makes it.

    The student is copied; `Trainer.fit` gives it the trained weights.
    """

    def __init__(
        self,
        student: Student,
        rows: TrainingRows,
        config: TrainingConfig,
        schedule: Schedule,
        strategy: tf.distribute.ParameterServerStrategy,
        member: Member,
    ) -> None:
        self.strategy = strategy
        self.workers = len(member.cluster["worker"])
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        self.steps_taken = 0
        super().__init__(student, rows, config, schedule)
        self._apply = tf.function(self._move, reduce_retracing=True)

    def scope(self) -> AbstractContextManager:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    def _own(self, student: Student) -> Student:
        with tf.variable_creator_scope(_zeros):
            copy = Student(student.task, student.config, student.seed)
        _assign(_whole(copy, copy.trunk.weights), named_arrays(student.trunk.weights))
        return copy

    def batch(self, rows: TrainingRows, index: np.ndarray) -> Batch:
        """Returns each worker's part of a batch, as arrays."""
        bounds = split(len(index), self.workers)
        parts = [index[start:end] for start, end in pairwise(bounds)]
        return tuple((rows.flat(part), rows.targets[part], np.float32(len(index))) for part in parts if len(part))

    def _step_function(self) -> Callable[..., tf.Tensor]:
        student = self.student
        flat = [(tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.int64)) for _ in self.hashes]
        number = tf.TensorSpec([], tf.int64)

        @tf.function(input_signature=[flat, self.targets, tf.TensorSpec([], tf.float32), number, number])
        def gradients(
            fields: list[tuple[tf.Tensor, tf.Tensor]],
            targets: tf.Tensor,
            rows: tf.Tensor,
            step: tf.Tensor,
            part: tf.Tensor,
        ) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]], list[tf.Tensor]]:
            hashes = [ragged(*field) for field in fields]
            loss, values = gradients_of(student, hashes, targets, rows, ReplicaNoise(step, part))
            tables = len(student.tables)
            return loss, [summed(value) for value in values[:tables]], values[tables:]

        def step(*parts: Any) -> tf.Tensor:
            started = [
                self.coordinator.schedule(gradients, (*part, np.int64(self.steps_taken), np.int64(i)))
                for i, part in enumerate(parts)
            ]
            self.coordinator.join()  # a closure whose worker dies is run again by another
            losses, tables, dense = zip(*self.coordinator.fetch(started), strict=True)
            slices = [
                [np.concatenate(arrays) for arrays in zip(*table, strict=True)] for table in zip(*tables, strict=True)
            ]
            sums = [np.sum(arrays, 0) for arrays in zip(*dense, strict=True)]
            self._apply(
                [[tf.constant(array) for array in table] for table in slices], [tf.constant(array) for array in sums]
            )
            self.steps_taken += 1
            return np.sum(losses)

        return step

    def _move(self, slices: list[list[tf.Tensor]], sums: list[tf.Tensor]) -> None:
        self.table_optimizer.apply([tf.IndexedSlices(values, rows) for rows, values in slices])
        self.dense_optimizer.apply_gradients(zip(sums, self.student.dense_weights, strict=True))

    def state(self) -> dict[str, np.ndarray]:
        """Returns what a checkpoint must hold: tables are whole in it, as those of one process."""
        count_noise(self.student, self.steps_taken)
        return _arrays(self._wholes)

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to what `state` returned."""
        _assign(self._wholes, state)
        self.steps_taken = int(self.table_optimizer.step.numpy())

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the student's weights, tables whole."""
        count_noise(self.student, self.steps_taken)
        return _arrays(_whole(self.student, self.student.trunk.weights))

    def finite(self) -> bool:
        """Says whether all weights are numbers; see Steps."""
        for part in self.student.trunk.trainable_variables:
            for rows in _pieces(part):
                with tf.device(part.device):
                    piece = tf.reduce_all(tf.math.is_finite(_read(part, rows)))
                if not piece:
                    return False
        return True

    def untouched(self) -> np.ndarray:
        """Says which rows of the n-gram table no step has read; see Steps."""
        return np.concatenate([self.table_optimizer.untouched(shard) for shard in shards(self.student.ngrams.table)])

    @property
    def _wholes(self) -> list[list[tf.Variable]]:
        wholes = [*_whole(self.student, self.student.trunk.weights), [self.table_optimizer.step]]
        accumulators = iter(self.table_optimizer.accumulators)
        for layer in self.student.embeddings.values():
            wholes.append([next(accumulators) for _ in shards(layer.table)])
        return wholes + [[variable] for variable in self.dense_optimizer.variables]


def tables_by_rows(servers: int) -> Callable[..., Sequence[int]]:
    """Returns a partitioner that splits tables evenly over so many servers and leaves all else whole."""

    def partitioner(shape: tf.TensorShape, dtype: tf.DType, axis: int = 0) -> list[int]:
        parts = [1] * len(shape)
        if len(shape) == 2 and shape[0] >= LEAST_TABLE:
            parts[0] = servers
        return parts

    return partitioner


def _zeros(create: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
    """Makes a variable of zeros. A random start, soon overwritten, would take a server three times its shard."""
    shape, dtype = arguments.get("shape"), arguments.get("dtype")
    if shape is None or dtype is None:
        return create(**arguments)

    def start(partition_shape: Sequence[int] | None = None, partition_offset: Sequence[int] | None = None) -> tf.Tensor:
        return tf.zeros(shape if partition_shape is None else partition_shape, dtype)

    return create(**{**arguments, "initial_value": start})


def _whole(student: Student, weights: Sequence[tf.Variable]) -> list[list[tf.Variable]]:
    """Returns the student's weights in order, each as its shards; a weight that is not split is its only shard."""
    tables = {id(shards(layer.table)[0]): shards(layer.table) for layer in student.embeddings.values()}
    later = {id(shard) for table in tables.values() for shard in table[1:]}
    return [tables.get(id(weight), [weight]) for weight in weights if id(weight) not in later]


def _arrays(wholes: Sequence[Sequence[tf.Variable]]) -> dict[str, np.ndarray]:
    """Returns weights under names that are unique and in order, as `named_arrays` does."""
    named = {}
    for i, parts in enumerate(wholes):
        name = parts[0].name.replace("/part_0", "")
        pieces = [np.asarray(_read(part, rows).numpy()) for part in parts for rows in _pieces(part)]
        named[f"{i:03d}.{name}"] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return named


def _assign(wholes: Sequence[Sequence[tf.Variable]], arrays: dict[str, np.ndarray]) -> None:
    """Gives weights the values that `_arrays` took, in pieces."""
    for parts, name in zip(wholes, sorted(arrays), strict=True):
        array = arrays[name]
        for part in parts:
            own, array = (array[: part.shape[0]], array[part.shape[0] :]) if part.shape.rank else (array, array)
            for rows in _pieces(part):
                if rows is None:
                    part.assign(own)
                else:
                    part.scatter_update(tf.IndexedSlices(own[rows], rows))


def _read(part: tf.Variable, rows: np.ndarray | None) -> tf.Tensor:
    """Reads a piece, on its server. A variable that is read whole, as before any op, would stand there twice."""
    with tf.device(part.device):
        return part.read_value() if rows is None else tf.gather(part, rows)


def _pieces(part: tf.Variable) -> Iterator[np.ndarray | None]:
    """Yields the rows of a table or of a shard, PIECE at once; None for a variable that is small or no table."""
    rows = part.shape[0] if part.shape.rank else 0
    if rows <= PIECE:
        yield None
        return
    for start in range(0, rows, PIECE):
        yield np.arange(start, min(start + PIECE, rows))
