"""Transformer layers as they are served, and how their weights are read from the trained ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfb2d.teachers.mpnet import MPNetLayer
from tfb2d.twin.quantised import ServedDense


class Norm(tf.Module):
    """Layer normalisation of `[n, width]` float32.

    Args:
      weights: gamma and beta, `[width]` each.
      epsilon: added to the variance.
    """

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
    """A Transformer layer's weights, normalised after each half.

    Attributes:
      query_key_value: kernel `[width, 3 width]` and bias `[3 width]`.
      attended, inner, outer: kernels and biases of the three other dense layers.
      norms: gamma and beta of the two normalisations.
      epsilon: of both.
      heads: attention heads.
      activation: between `inner` and `outer`.
    """

    query_key_value: Sequence[np.ndarray]
    attended: Sequence[np.ndarray]
    inner: Sequence[np.ndarray]
    outer: Sequence[np.ndarray]
    norms: Sequence[Sequence[np.ndarray]]
    epsilon: float
    heads: int
    activation: Callable[[tf.Tensor], tf.Tensor]


class TransformerLayer(tf.Module):
    """A Transformer layer.

    Args:
      layer: its weights.
      weights: how they are stored, see `quantised`.
    """

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

    Raises:
      ValueError: it normalises before each half.
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
        raise ValueError(f"{layer.name} normalises before attention; towers are served with normalisation behind it")
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
