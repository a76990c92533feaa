"""Tables and Transformer layers as they are served: how their weights are stored, and read from the trained ones.

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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfb2d.students.int8_table import quantise
from tfb2d.teachers.mpnet import MPNetLayer

WEIGHTS = ("int8", "bfloat16", "float")


class ServedTable(tf.Module):
    """A table `[rows, width]` that ids read."""

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
    """A dense layer of a Transformer, of a kernel `[inputs, outputs]` and a bias `[outputs]`."""

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


class Norm(tf.Module):
    """Layer normalisation of `[n, width]` float32, by gamma and beta, `[width]` each."""

    def __init__(self, weights: Sequence[np.ndarray], epsilon: float) -> None:
        super().__init__()
        (self._gamma, self._beta), self._epsilon = weights, epsilon

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Adds the normalisation to a graph."""
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        return centred * (tf.math.rsqrt(variance + self._epsilon) * self._gamma) + self._beta


@dataclass(frozen=True)
class LayerWeights:
    """A Transformer layer's weights, normalised after each half."""

    query_key_value: Sequence[np.ndarray]  # kernel `[width, 3 width]` and bias `[3 width]`
    # attended, inner, outer: kernels and biases of the three other dense layers
    attended: Sequence[np.ndarray]
    inner: Sequence[np.ndarray]
    outer: Sequence[np.ndarray]
    norms: Sequence[Sequence[np.ndarray]]  # gamma and beta of the two normalisations
    epsilon: float  # of both
    heads: int  # attention heads
    activation: Callable[[tf.Tensor], tf.Tensor]  # between `inner` and `outer`


class TransformerLayer(tf.Module):
    """A Transformer layer, whose weights are stored as the module says."""

    def __init__(self, layer: LayerWeights, weights: str) -> None:
        super().__init__()
        self._heads, self._activation = layer.heads, layer.activation
        kernel, bias = layer.query_key_value
        self._width = kernel.shape[0]
        scale = np.ones(3 * self._width, np.float32)
        scale[: self._width] = 1 / math.sqrt(self._width // layer.heads)  # queries come divided already
        self.query_key_value = ServedDense([kernel * scale, bias * scale], weights)
        self.attended, self.inner, self.outer = (
            ServedDense(pair, weights) for pair in (layer.attended, layer.inner, layer.outer)
        )
        self.norms = [Norm(pair, layer.epsilon) for pair in layer.norms]

    def __call__(self, states: tf.Tensor, shape: tuple[Any, Any], bias: tf.Tensor, constant: bool) -> tf.Tensor:
        """Adds the layer to a graph.

        Args:
          states: float32 `[n * tokens, width]`.
          shape: n, the number of texts, and their tokens, padding included.
          bias: added to the attention's logits, float32 `[n or 1, heads or 1, tokens or 1, tokens]`.
          constant: as of `ServedDense`.

        Returns:
          Like `states`.
        """
        parts = tf.reshape(self.query_key_value(states, constant), [*shape, 3, self._heads, self._width // self._heads])
        query, key, value = tf.unstack(tf.transpose(tf.cast(parts, tf.float32), [2, 0, 3, 1, 4]), num=3)
        attention = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias)
        mixed = tf.reshape(tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3]), [-1, self._width])
        states = self.norms[0](states + tf.cast(self.attended(mixed, constant), tf.float32))
        inner = self._activation(self.inner(states, constant))
        return self.norms[1](states + tf.cast(self.outer(inner, constant), tf.float32))


def arrays_of(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Returns a layer's weights by the ends of their paths, such as "query/kernel"."""
    return {"/".join(weight.path.split("/")[-2:]): np.asarray(weight) for weight in layer.weights}


def layer_weights(layer: keras.layers.Layer) -> LayerWeights:
    """Reads the weights of KerasHub's `TransformerEncoder`, or of MPNet's layer.

    Raises ValueError where it normalises before each half.
    """
    if isinstance(layer, MPNetLayer):
        return LayerWeights(
            layer.query_key_value.get_weights(),
            layer.attention_output.get_weights(),
            layer.intermediate.get_weights(),
            layer.output_dense.get_weights(),
            [layer.attention_norm.get_weights(), layer.output_norm.get_weights()],
            layer.output_norm.epsilon,
            layer.num_heads,
            layer.activation.activation,
        )
    settings = layer.get_config()
    if settings["normalize_first"]:
        raise ValueError(f"{layer.name} normalises before attention; towers are served with normalisation after it")
    named = arrays_of(layer)
    width = named["feedforward_output_dense/bias"].shape[0]

    def pair(name: str, rows: int) -> Sequence[np.ndarray]:
        return named[f"{name}/kernel"].reshape(rows, -1), named[f"{name}/bias"].reshape(-1)

    parts = [pair(name, width) for name in ("query", "key", "value")]
    query_key_value = [np.concatenate(values, -1) for values in zip(*parts, strict=True)]
    inner = pair("feedforward_intermediate_dense", width)
    norms = [
        (named[f"{name}/gamma"], named[f"{name}/beta"])
        for name in ("self_attention_layer_norm", "feedforward_layer_norm")
    ]
    return LayerWeights(
        query_key_value,
        pair("attention_output", width),
        inner,
        pair("feedforward_output_dense", len(inner[1])),
        norms,
        settings["layer_norm_epsilon"],
        settings["num_heads"],
        layer.activation,
    )
