"""Towers as they are served: the same vectors as the Keras models, from strings, by few plain TensorFlow operations.

A tower's arithmetic is written twice: in Keras, as it is trained, and here. Tests hold the two equal. The served form has
one product for query, key and value, the division by the root of a head's width and the segment's vector folded into
weights, and states without padding's shape: `[tokens of the batch, width]`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfb2d.teachers.mpnet import MPNetLayer, relative_buckets
from tfb2d.twin.inputs import NGramInputs
from tfb2d.twin.layers import DIRECTION
from tfb2d.twin.quantised import ServedDense, ServedTable
from tfb2d.twin.towers import EMBEDDING, ENCODER, Tower

PADDING = -1e9  # added to the attention's logits of padding


class ServedTower(tf.Module):
    """Embeds strings.

    Args:
      tower: a trained one; its weights are copied.
      weights: how they are stored, see `quantised`.
    """

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__()
        self.inputs = tower.inputs
        self._narrow = [tf.Variable(value, trainable=False) for value in tower.model.get_layer(EMBEDDING).get_weights()]

    def pooled(self, texts: tf.Tensor, constant: bool) -> tf.Tensor:
        """Returns one vector a text, float32 `[n, width]`."""
        raise NotImplementedError

    def __call__(self, texts: tf.Tensor, constant: bool = False) -> tf.Tensor:
        """Adds the tower to a graph.

        Args:
          texts: `[n]` string.
          constant: as of `ServedDense`.

        Returns:
          `[n, dim]` float32, vectors of length 1.
        """
        kernel, bias = self._narrow
        moved = tf.tanh(tf.matmul(self.pooled(texts, constant), kernel) + bias) + DIRECTION
        return moved * tf.math.rsqrt(tf.reduce_sum(tf.square(moved), 1, keepdims=True))


class ServedLookUp(ServedTower):
    """Looks hashed n-grams up; arguments as of `ServedTower`."""

    inputs: NGramInputs

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__(tower, weights)
        (table,) = tower.model.get_layer("n_grams").get_weights()
        self.table = ServedTable(table, weights)

    def pooled(self, texts: tf.Tensor, constant: bool) -> tf.Tensor:
        """Pools the n-grams of each text, without padding."""
        ids, indices, n = self.inputs.flat(texts)
        orders = len(self.inputs.orders)
        vectors = self.table(tf.reshape(ids, [-1]))
        rows = tf.reshape(tf.tile(indices[:, :1], [1, orders]), [-1])
        return tf.raw_ops.SparseSegmentSqrtNWithNumSegments(
            data=vectors, indices=tf.range(tf.size(rows)), segment_ids=rows, num_segments=n
        )


class Norm(tf.Module):
    """Layer normalisation of `[n, width]` float32.

    Args:
      gamma, beta: `[width]`.
      epsilon: added to the variance.
    """

    def __init__(self, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> None:
        super().__init__()
        self._gamma, self._beta, self._epsilon = gamma, beta, epsilon

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

    query_key_value: tuple[np.ndarray, np.ndarray]
    attended: tuple[np.ndarray, np.ndarray]
    inner: tuple[np.ndarray, np.ndarray]
    outer: tuple[np.ndarray, np.ndarray]
    norms: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
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
        self.query_key_value = ServedDense(kernel * scale, bias * scale, weights)
        self.attended, self.inner, self.outer = (
            ServedDense(*pair, weights) for pair in (layer.attended, layer.inner, layer.outer)
        )
        self.norms = [Norm(*pair, layer.epsilon) for pair in layer.norms]

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


class ServedTransformer(ServedTower):
    """Reads word pieces or tri-letters with a Transformer; arguments as of `ServedTower`."""

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__(tower, weights)
        model, self._kind = tower.model, tower.shape["kind"]
        encoder = model.get_layer(ENCODER) if self._kind == "word_pieces" else model
        self._pooling = tower.shape["pooling"]
        if self._pooling == "weighted":
            (self._score,) = model.get_layer("pooling").get_weights()
        self._start = None
        if self._kind == "word_pieces":
            self._read_embeddings(encoder, weights)
        else:
            words = {weight.path.split("/")[-1]: np.asarray(weight) for weight in model.get_layer("words").weights}
            self.table, self._positions = ServedTable(words["table"], weights), words["positions"]
            norm = model.get_layer("words_norm")
            self.norm = Norm(*norm.get_weights(), norm.epsilon)
            self._projection = None
        layers = [layer for layer in encoder.layers if layer.name.startswith("transformer_layer_")]
        self.layers = [TransformerLayer(layer_weights(layer), weights) for layer in layers]
        self._bias = None
        if isinstance(layers[0], MPNetLayer):
            distance = encoder.get_layer("attention_bias")
            buckets = relative_buckets(self.inputs.spec()["max_length"], distance.num_buckets)
            self._bias = distance.get_weights()[0][buckets].transpose(2, 0, 1)[None]

    def _read_embeddings(self, encoder: Any, weights: str) -> None:
        by_end = arrays_of(encoder)
        self.table = ServedTable(by_end["token_embedding/embeddings"], weights)
        (positions,) = (value for path, value in by_end.items() if path.startswith("position_embedding/"))
        segment = by_end.get("segment_embedding/embeddings")
        self._positions = positions if segment is None else positions + segment[0]
        norm = encoder.get_layer("embeddings_layer_norm")
        self.norm = Norm(*norm.get_weights(), norm.epsilon)
        kernel = by_end.get("embeddings_projection/kernel")  # of small ELECTRAs
        self._projection = kernel if kernel is None else (kernel, by_end["embeddings_projection/bias"])

    def _embedded(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the first layer reads, `[n, tokens, width]`, and which of it are tokens, `[n, tokens]` float32."""
        read = self.inputs(texts)
        if self._kind == "word_pieces":
            vectors, mask = self.table(read["token_ids"]), tf.cast(read["padding_mask"], tf.float32)
        else:
            ids = read["ids"]
            real = tf.cast(ids > 0, tf.float32)
            sums = tf.reduce_sum(self.table(ids) * real[..., None], 2)
            start = tf.zeros_like(sums[:, :1])
            vectors = tf.concat([start, sums], 1)
            mask = tf.concat([tf.ones_like(real[:, :1, 0]), real[:, :, 0]], 1)
        return vectors + tf.constant(self._positions[: self._longest])[: tf.shape(vectors)[1]], mask

    @property
    def _longest(self) -> int:
        spec = self.inputs.spec()
        return int(spec["max_length"] if self._kind == "word_pieces" else 1 + spec["max_words"])

    def pooled(self, texts: tf.Tensor, constant: bool) -> tf.Tensor:
        """Runs the encoder, and pools its states."""
        vectors, mask = self._embedded(texts)
        n, tokens = tf.shape(mask)[0], tf.shape(mask)[1]
        bias = (mask - 1.0)[:, None, None] * -PADDING
        if self._bias is not None:
            bias += tf.constant(self._bias)[:, :, :tokens, :tokens]
        states = self.norm(tf.reshape(vectors, [-1, vectors.shape[-1]]))
        if self._projection is not None:
            kernel, add = self._projection
            states = tf.matmul(states, kernel) + add
        for layer in self.layers:
            states = layer(states, (n, tokens), bias, constant)
        states = tf.reshape(states, [n, tokens, states.shape[-1]])
        if self._pooling == "cls":
            return states[:, 0]
        if self._pooling == "weighted":
            scores = tf.linalg.matvec(states, self._score) + (mask - 1.0) * -PADDING
            share = tf.nn.softmax(scores)
        else:
            share = mask / tf.maximum(tf.reduce_sum(mask, 1, keepdims=True), 1.0)
        return tf.matmul(share[:, None], states)[:, 0]


def served_tower(tower: Tower, weights: str) -> ServedTower:
    """Returns the served form of a tower."""
    return (ServedLookUp if tower.shape["kind"] == "n_grams" else ServedTransformer)(tower, weights)


def arrays_of(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Returns a layer's weights by the ends of their paths, such as "query/kernel"."""
    return {"/".join(weight.path.split("/")[-2:]): np.asarray(weight) for weight in layer.weights}


def layer_weights(layer: keras.layers.Layer) -> LayerWeights:
    """Reads the weights of KerasHub's `TransformerEncoder`, or of MPNet's layer.

    Raises:
      ValueError: it normalises before each half.
    """
    if isinstance(layer, MPNetLayer):
        dense = [layer.query_key_value, layer.attention_output, layer.intermediate, layer.output_dense]
        pairs = [tuple(part.get_weights()) for part in dense]
        norms: Any = tuple(tuple(part.get_weights()) for part in (layer.attention_norm, layer.output_norm))
        epsilon, activation = layer.output_norm.epsilon, layer.activation.activation
        return LayerWeights(*pairs, norms, epsilon, layer.num_heads, activation)
    settings = layer.get_config()
    if settings["normalize_first"]:
        raise ValueError(f"{layer.name} normalises before attention; towers are served with normalisation behind it")
    named = arrays_of(layer)
    width = named["feedforward_output_dense/bias"].shape[0]

    def pair(name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
        return named[f"{name}/kernel"].reshape(rows, -1), named[f"{name}/bias"].reshape(-1)

    parts = [pair(name, width) for name in ("query", "key", "value")]
    query_key_value = tuple(np.concatenate(values, -1) for values in zip(*parts, strict=True))
    inner = pair("feedforward_intermediate_dense", width)
    norms = tuple(
        (named[f"{name}/gamma"], named[f"{name}/beta"])
        for name in ("self_attention_layer_norm", "feedforward_layer_norm")
    )
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
