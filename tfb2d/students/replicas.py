"""Training steps on several devices that hold the whole student each: of one machine, or of several processes.

A batch is split over the replicas. Each computes the gradients of its rows; their sum is that of the whole batch, and
every replica moves its copy of the weights by it. So the student is the same as of one process, up to the order of sums.
Dropout is the exception: replicas draw noise of their own.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import tensorflow as tf

from tfb2d.cluster import Member
from tfb2d.config import TrainingConfig
from tfb2d.students.layers import REPLICA, ReplicaNoise, SeededDropout
from tfb2d.students.model import Student, assign_arrays, named_arrays
from tfb2d.students.rows import TrainingRows
from tfb2d.students.steps import Batch, Schedule, Steps, training_loss


class ReplicaSteps(Steps):
    """Takes steps under `MirroredStrategy` or `MultiWorkerMirroredStrategy`; see Steps.

    The student is copied; `Trainer.fit` gives it the trained weights. `member` is this process's part in the cluster, None
    where it trains alone.
    """

    def __init__(
        self,
        student: Student,
        rows: TrainingRows,
        config: TrainingConfig,
        schedule: Schedule,
        strategy: tf.distribute.Strategy,
        member: Member | None = None,
    ) -> None:
        self.strategy = strategy
        self._together: Callable[[tf.Tensor], tf.Tensor] | None = None
        self.is_chief = member is None or member.is_chief
        self.replicas = strategy.num_replicas_in_sync
        self.here = self.replicas // (1 if member is None else member.trainers)  # replicas of this process
        self.first = 0 if member is None else member.rank * self.here
        super().__init__(student, rows, config, schedule)

    def scope(self) -> AbstractContextManager:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    def _own(self, student: Student) -> Student:
        copy = Student(student.task, student.config, student.seed)
        assign_arrays(copy.trunk.weights, named_arrays(student.trunk.weights))
        return copy

    def batch(self, rows: TrainingRows, index: np.ndarray) -> Batch:
        """Returns this process's part of a batch, where each of its replicas begins in it, and the whole batch's rows."""
        bounds = split(len(index), self.replicas)[self.first : self.first + self.here + 1]
        hashes, targets = rows.batch(index[bounds[0] : bounds[-1]])
        return hashes, targets, tf.constant(bounds - bounds[0]), tf.constant(len(index), tf.float32)

    def _step_function(self) -> Callable[..., tf.Tensor]:
        student, strategy = self.student, self.strategy

        @tf.function(
            input_signature=[self.hashes, self.targets, tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.float32)]
        )
        def step(hashes: list[tf.RaggedTensor], targets: tf.Tensor, starts: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
            def replica() -> tf.Tensor:
                number = tf.distribute.get_replica_context().replica_id_in_sync_group
                at = number - self.first
                own = [_part(field, starts[at], starts[at + 1]) for field in hashes] if self.here > 1 else hashes
                labels = targets[starts[at] : starts[at + 1]] if self.here > 1 else targets
                noise = ReplicaNoise(tf.identity(self.table_optimizer.step), tf.cast(number, tf.int64))
                loss, gradients = gradients_of(student, own, labels, rows, noise)
                tables = len(student.tables)
                self.table_optimizer.apply(gradients[:tables])
                # sums the gradients of all replicas first
                self.dense_optimizer.apply_gradients(zip(gradients[tables:], student.dense_weights, strict=True))
                return loss

            return strategy.reduce("SUM", strategy.run(replica), axis=None)

        return step

    def chiefs(self, values: Sequence[float]) -> list[float]:
        """Returns the chief's values, in every process."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
        def together(own: tf.Tensor) -> tf.Tensor:
            def replica() -> tf.Tensor:
                number = tf.distribute.get_replica_context().replica_id_in_sync_group
                return tf.where(tf.equal(number, 0), own, tf.zeros_like(own))

            return self.strategy.reduce("SUM", self.strategy.run(replica), axis=None)

        self._together = self._together or together
        return self._together(tf.constant(values, tf.float64)).numpy().tolist()

    def state(self) -> dict[str, np.ndarray]:
        """Returns what a checkpoint must hold; see Steps."""
        count_noise(self.student, int(self.table_optimizer.step.numpy()))
        return super().state()

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the student's weights; see Steps."""
        count_noise(self.student, int(self.table_optimizer.step.numpy()))
        return super().weights()


def gradients_of(
    student: Student, hashes: list[tf.RaggedTensor], targets: tf.Tensor, rows: tf.Tensor, noise: ReplicaNoise
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns a replica's share of a batch's loss, and its gradients by the tables and then by the dense weights.

    The replica may have none of the batch's `rows`, whose number is a float32.
    """
    token = REPLICA.set(noise)
    try:
        with tf.GradientTape() as tape:
            loss = training_loss(student, hashes, targets, rows)
    finally:
        REPLICA.reset(token)
    return loss, tape.gradient(loss, student.tables + student.dense_weights)


def split(n: int, parts: int) -> np.ndarray:
    """Returns where the parts of `n` rows begin, and the end: `[parts + 1]` int64; sizes differ by 1 at most."""
    return np.arange(parts + 1, dtype=np.int64) * n // parts


def count_noise(student: Student, step: int) -> None:
    """Sets the counters of dropout as if one process had taken these steps, which may continue from them."""
    for layer in student.trunk.submodules:
        if isinstance(layer, SeededDropout) and layer.rate and layer.built:
            layer.step.assign(step * len(student.task.fields))


def _part(hashes: tf.RaggedTensor, start: tf.Tensor, end: tf.Tensor) -> tf.RaggedTensor:
    """Returns some rows of a ragged tensor."""
    splits = hashes.row_splits[start : end + 1]
    values = hashes.values[splits[0] : splits[-1]]
    return tf.RaggedTensor.from_row_splits(values, splits - splits[0], validate=False)
