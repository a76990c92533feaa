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
    """Applies one gradient to all of a twin's trainable variables.

    Encoders are clipped together, and heads together; tables are not. `pretrained` says whether the encoders were trained
    before; a fresh one learns at the heads' rate.
    """

    def __init__(self, variables: Sequence[keras.Variable], config: TwinConfig, steps: int, pretrained: bool) -> None:
        self.tables: list[keras.Variable] = []
        self.heads: list[keras.Variable] = []
        self.encoders: list[keras.Variable] = []
        for variable in variables:
            *layers, name = variable.path.split("/")
            is_head = not pretrained or not set(HEADS).isdisjoint(layers)
            (self.tables if name == TABLE else self.heads if is_head else self.encoders).append(variable)
        self._parts: list[tuple[list[keras.Variable], keras.optimizers.Optimizer]] = []
        for part, rate in ((self.encoders, config.learning_rate), (self.heads, config.head_learning_rate)):
            if part:
                optimizer = optimizer_for(rate, steps, config)
                optimizer.build(part)
                self._parts.append((part, optimizer))
        schedule = rate_schedule(config.table_learning_rate, steps, config.warmup)
        tables = [table.value for table in self.tables]
        self._rows = RowWiseAdagrad(tables, lambda step: schedule(tf.convert_to_tensor(step)))
        self.variables = [*self.tables, *self.encoders, *self.heads]

    @property
    def state(self) -> list[Any]:
        """Lists the variables that a checkpoint must hold."""
        return [*self._rows.state, *(variable for _, optimizer in self._parts for variable in optimizer.variables)]

    def apply(self, gradients: Sequence[Any]) -> None:
        """Takes one step by a gradient for each of `variables`; those of tables are sparse, and a row may occur twice."""
        self._rows.apply([_sparse(gradient) for gradient in gradients[: len(self.tables)]])
        at = len(self.tables)
        for part, optimizer in self._parts:
            optimizer.apply(gradients[at : at + len(part)], part)
            at += len(part)


def _sparse(gradient: Any) -> tf.IndexedSlices:
    assert isinstance(gradient, tf.IndexedSlices), "a table is read by gathering rows"
    return gradient
