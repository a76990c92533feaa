"""Stores the weights of an exported twin.

| weights  | tables                      | kernels of Transformer layers |
|----------|-----------------------------|-------------------------------|
| int8     | int8, a float32 scale a row | bfloat16                      |
| bfloat16 | bfloat16                    | bfloat16                      |
| float    | float32                     | float32                       |

Kernels are not stored in int8. Turned back into numbers at each call they take a query 2.0 ms (three layers of 384, six
tokens, one core with AVX512-BF16), as bfloat16 constants 0.9. A table's rows are read one by one, so for tables int8
costs no time. Small kernels (the embedding layer, the crossing layer) stay float32.

A processor without AVX512-BF16 or AMX computes bfloat16 products in float32 steps: there "float" may be faster.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.students.int8_table import quantise

WEIGHTS = ("int8", "bfloat16", "float")


class ServedTable(tf.Module):
    """A table that ids read.

    Args:
      table: `[rows, width]` float32.
      weights: one of WEIGHTS.
    """

    def __init__(self, table: np.ndarray, weights: str) -> None:
        super().__init__()
        self.scale: tf.Variable | None = None
        if weights == "int8":
            stored = quantise(table)
            self.scale = tf.Variable(stored.scale[:, None], trainable=False, name="scale")
            self.values = tf.Variable(stored.values, trainable=False, name="table")
        else:
            dtype = tf.bfloat16 if weights == "bfloat16" else tf.float32
            self.values = tf.Variable(tf.cast(table, dtype), trainable=False, name="table")

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows of ids of any shape, float32 `[..., width]`."""
        rows = tf.cast(tf.gather(self.values, ids), tf.float32)
        return rows if self.scale is None else rows * tf.gather(self.scale, ids)


class ServedDense(tf.Module):
    """A dense layer of a Transformer: its kernel as `weights` says, its bias with it.

    Args:
      pair: kernel `[inputs, outputs]` and bias `[outputs]`, float32.
      weights: one of WEIGHTS.
    """

    def __init__(self, pair: Sequence[np.ndarray], weights: str) -> None:
        super().__init__()
        kernel, bias = pair
        self.dtype = tf.float32 if weights == "float" else tf.bfloat16
        self._values: Any = kernel.astype(self.dtype.as_numpy_dtype)
        self._bias: Any = bias.astype(self.dtype.as_numpy_dtype)
        self.kernel = tf.Variable(self._values, trainable=False, name="kernel")

    def __call__(self, x: tf.Tensor, constant: bool) -> tf.Tensor:
        """Adds the layer to a graph.

        Args:
          x: `[n, inputs]`, any floating type.
          constant: whether the kernel is a constant of the graph, which oneDNN keeps packed from call to call: 0.9 ms
            instead of 2.1 for the query above. Each graph has its own copy, so this is for one signature. Float32 kernels
            are always read from the variable: as constants some lengths of text took 4.5 ms, others 1.9.

        Returns:
          `[n, outputs]` in the kernel's dtype.
        """
        fixed = constant and self.dtype == tf.bfloat16
        kernel = tf.constant(self._values) if fixed else self.kernel.read_value()
        # Not `+`: a bias that is added this way becomes part of oneDNN's product, which reads its packed kernel.
        return tf.nn.bias_add(tf.matmul(tf.cast(x, self.dtype), kernel), self._bias)
