"""Training steps of a student in this process, on one device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.config import TrainingConfig
from tfb2d.students.margin import margin_loss
from tfb2d.students.model import Student, assign_arrays, named_arrays
from tfb2d.students.optimizer import RowWiseAdagrad
from tfb2d.students.rows import TrainingRows

Schedule = Callable[[float], tf_keras.optimizers.schedules.LearningRateSchedule]
Batch = tuple[Any, ...]


def soft_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of `[n, k]` target probabilities and logits; sigmoid for k = 1, else softmax.

    It is linear in the targets, so a share of hard labels is mixed into them beforehand (`tfb2d.distill.targets`).
    """
    return tf.reduce_mean(cross_entropies(targets, logits))


def cross_entropies(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropies whose mean `soft_cross_entropy` is: `[n, 1]`, or `[n]` of several classes."""
    if targets.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


@contextmanager
def bfloat16_products(on: bool) -> Iterator[None]:
    """Lets TensorFlow compute the matrix products of graphs in bfloat16; weights and sums stay float32."""
    name, options = "auto_mixed_precision_onednn_bfloat16", tf.config.optimizer
    before = options.get_experimental_options().get(name, False)
    options.set_experimental_options({name: on or before})
    try:
        yield
    finally:
        options.set_experimental_options({name: before})


class Steps:
    """Takes training steps, and holds what they change: weights and optimizers.

    Tables learn by row-wise Adagrad from sparse gradients, all else by Adam, each by the `schedule` of its peak rate.
    Subclasses train copies of the student on several devices (`students/replicas.py`).
    """

    is_chief = True  # whether this process is the one that writes

    def __init__(self, student: Student, rows: TrainingRows, config: TrainingConfig, schedule: Schedule) -> None:
        with self.scope():
            self.student = self._own(student)
            self.table_optimizer = RowWiseAdagrad(self.student.tables, schedule(config.table_learning_rate))
            self.dense_optimizer = tf_keras.optimizers.Adam(schedule(config.learning_rate), jit_compile=False)
            self.dense_optimizer.build(self.student.dense_weights)
        self.margin_weight = config.margin_weight
        self.hashes = [tf.RaggedTensorSpec([None, None], tf.int64, 1, tf.int64) for _ in rows.fields]
        self.targets = tf.TensorSpec([None, rows.targets.shape[1]], tf.float32)
        self.step = self._step_function()
        self.logits = logits_function(self.student, self.hashes)

    def scope(self) -> AbstractContextManager:
        """Returns the context in which variables are made."""
        return nullcontext()

    def _own(self, student: Student) -> Student:
        """Returns the student that the steps train."""
        return student

    def batch(self, rows: TrainingRows, index: np.ndarray) -> Batch:
        """Returns the arguments of `step` for these rows."""
        return rows.batch(index)

    def _step_function(self) -> Callable[..., tf.Tensor]:
        student, margin_weight = self.student, self.margin_weight

        @tf.function(input_signature=[self.hashes, self.targets])
        def step(hashes: list[tf.RaggedTensor], targets: tf.Tensor) -> tf.Tensor:
            tables, weights = student.tables, student.dense_weights
            with tf.GradientTape() as tape:
                loss = training_loss(student, hashes, targets, margin_weight=margin_weight)
            gradients = tape.gradient(loss, tables + weights)
            self.table_optimizer.apply(gradients[: len(tables)])
            self.dense_optimizer.apply_gradients(zip(gradients[len(tables) :], weights, strict=True))
            return loss

        return step

    def chiefs(self, values: Sequence[float]) -> list[float]:
        """Returns the chief's values, in every process that trains."""
        return list(values)

    def state(self) -> dict[str, np.ndarray]:
        """Returns all that a checkpoint must hold; the same arrays whatever trains the student."""
        return named_arrays(self._variables)

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to what `state` returned."""
        assign_arrays(self._variables, state)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the student's weights."""
        return named_arrays(self.student.trunk.weights)

    def finite(self) -> bool:
        """Says whether all weights are numbers."""
        weights = self.student.trunk.trainable_variables
        return all(bool(tf.reduce_all(tf.math.is_finite(weight))) for weight in weights)

    def untouched(self) -> np.ndarray:
        """Says which rows of the n-gram table no step has read: `[buckets]` bool."""
        return self.table_optimizer.untouched(self.student.ngrams.table)

    @property
    def _variables(self) -> list[tf.Variable]:
        return [*self.student.trunk.weights, *self.table_optimizer.state, *self.dense_optimizer.variables]


def training_loss(
    student: Student,
    hashes: list[tf.RaggedTensor],
    targets: tf.Tensor,
    rows: tf.Tensor | None = None,
    margin_weight: float = 0.0,
) -> tf.Tensor:
    """Returns what training lowers, of a batch or a replica's part of one.

    Of a part, `rows` are the whole batch's, float32: the parts' losses add up to the batch's. None takes the mean. The
    margin loss goes with a whole batch alone.
    """
    logits = student.trunk(hashes, training=True)
    # A student with an early exit learns both of its outputs, one after the other.
    outputs = 2 if student.exit else 1
    losses = cross_entropies(tf.tile(targets, [outputs, 1]) if student.exit else targets, logits)
    loss = tf.reduce_mean(losses) if rows is None else tf.reduce_sum(losses) / (outputs * rows)
    return loss + margin_weight * margin_loss(targets, logits, hashes[0]) if margin_weight else loss


def logits_function(
    student: Student, hashes: list[tf.RaggedTensorSpec]
) -> Callable[[list[tf.RaggedTensor]], tf.Tensor]:
    """Returns the function from a batch's token hashes to its logits `[n, k]`."""
    return tf.function(lambda hashes: student.trunk(hashes, training=False), input_signature=[hashes])
