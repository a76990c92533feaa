"""Applies gradients to a twin: encoders and heads by AdamW, each at its rate, tables of hashed ids by row-wise Adagrad."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfb2d.config.twin import TwinConfig
from tfb2d.students.optimizer import RowWiseAdagrad
from tfb2d.teachers.optimizer import optimizer_for, rate_schedule
from tfb2d.twin.layers import TABLE

HEADS = ("pooling", "embedding", "crossing")  # layers between an encoder and the logit


class Optimizers:
    """Applies one gradient to all of a twin's variables.

    Args:
      variables: the trainable ones, each once.
      config: rates, warm-up, decay and clipping. Encoders are clipped together, and heads together; tables are not.
      steps: steps of the whole run.
      pretrained: whether the encoders were trained before; a fresh one learns at the heads' rate.
    """

    def __init__(self, variables: Sequence[keras.Variable], config: TwinConfig, steps: int, pretrained: bool) -> None:
        self.tables = [variable for variable in variables if variable.path.endswith(f"/{TABLE}")]
        heads = [variable for variable in variables if _is_head(variable) or not pretrained]
        self.heads = [variable for variable in heads if not _among(variable, self.tables)]
        self.encoders = [
            variable for variable in variables if not _among(variable, self.tables) and not _among(variable, self.heads)
        ]
        self._parts: list[tuple[list[keras.Variable], keras.optimizers.Optimizer]] = []
        for part, rate in ((self.encoders, config.learning_rate), (self.heads, config.head_learning_rate)):
            if part:
                optimizer = optimizer_for(rate, steps, config)
                optimizer.build(part)
                self._parts.append((part, optimizer))
        schedule = rate_schedule(config.table_learning_rate, steps, config.warmup)
        self._rows = RowWiseAdagrad(
            [table.value for table in self.tables], lambda step: schedule(tf.convert_to_tensor(step))
        )
        self.variables = [*self.tables, *self.encoders, *self.heads]

    @property
    def state(self) -> list[Any]:
        """Lists the variables that a checkpoint must hold."""
        return [*self._rows.state, *(variable for _, optimizer in self._parts for variable in optimizer.variables)]

    def apply(self, gradients: Sequence[Any]) -> None:
        """Takes one step.

        Args:
          gradients: one for each of `variables`, in their order. Tables have sparse ones, where a row may stand twice.
        """
        self._rows.apply([_sparse(gradient) for gradient in gradients[: len(self.tables)]])
        at = len(self.tables)
        for part, optimizer in self._parts:
            optimizer.apply(gradients[at : at + len(part)], part)
            at += len(part)


def _sparse(gradient: Any) -> tf.IndexedSlices:
    assert isinstance(gradient, tf.IndexedSlices), "a table is read by gathering rows"
    return gradient


def _is_head(variable: keras.Variable) -> bool:
    return any(part in HEADS for part in variable.path.split("/")[:-1])


def _among(variable: keras.Variable, others: Sequence[keras.Variable]) -> bool:
    return any(variable is other for other in others)
