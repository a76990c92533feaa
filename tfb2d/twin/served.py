"""Towers as they are served: the same vectors as the Keras models, from strings, by few plain TensorFlow operations.

A tower's arithmetic is written twice: in Keras, as it is trained, and here. Tests hold the two equal. The served form has
one product for query, key and value, the division by the root of a head's width and the segment's vector folded into
weights, and states without padding's shape: `[tokens of the batch, width]`.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.teachers.mpnet import MPNetLayer, relative_buckets
from tfb2d.twin.inputs import Inputs, NGramInputs
from tfb2d.twin.layers import DIRECTION
from tfb2d.twin.served_layers import Norm, ServedTable, TransformerLayer, arrays_of, layer_weights
from tfb2d.twin.towers import EMBEDDING, ENCODER, Tower

PADDING = -1e9  # added to the attention's logits of padding


class ServedTower(tf.Module):
    """Embeds strings by a copy of a trained tower's weights, stored as `served_layers` says."""

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__()
        self._narrow = [tf.Variable(value, trainable=False) for value in tower.model.get_layer(EMBEDDING).get_weights()]

    def pooled(self, texts: tf.Tensor, inputs: Any, constant: bool) -> tf.Tensor:
        """Returns one vector a text, float32 `[n, width]`."""
        raise NotImplementedError

    def __call__(self, texts: tf.Tensor, inputs: Inputs, constant: bool = False) -> tf.Tensor:
        """Adds the tower to a graph: strings `[n]` to vectors of length 1, `[n, dim]` float32.

        `inputs` cut texts into ids; towers that share weights differ in them. `constant` is that of `ServedDense`.
        """
        kernel, bias = self._narrow
        moved = tf.tanh(tf.matmul(self.pooled(texts, inputs, constant), kernel) + bias) + DIRECTION
        return moved * tf.math.rsqrt(tf.reduce_sum(tf.square(moved), 1, keepdims=True))


class ServedLookUp(ServedTower):
    """Looks hashed n-grams up."""

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__(tower, weights)
        (table,) = tower.model.get_layer("n_grams").get_weights()
        self.table = ServedTable(table, weights)

    def pooled(self, texts: tf.Tensor, inputs: NGramInputs, constant: bool) -> tf.Tensor:
        """Pools the n-grams of each text, without padding."""
        ids, indices, n = inputs.flat(texts)
        orders = len(inputs.orders)
        vectors = self.table(tf.reshape(ids, [-1]))
        rows = tf.reshape(tf.tile(indices[:, :1], [1, orders]), [-1])
        return tf.raw_ops.SparseSegmentSqrtNWithNumSegments(
            data=vectors, indices=tf.range(tf.size(rows)), segment_ids=rows, num_segments=n
        )


class ServedTransformer(ServedTower):
    """Reads word pieces or tri-letters with a Transformer."""

    def __init__(self, tower: Tower, weights: str) -> None:
        super().__init__(tower, weights)
        model, self._kind = tower.model, tower.shape["kind"]
        encoder = model.get_layer(ENCODER) if self._kind == "word_pieces" else model
        self._pooling = tower.shape["pooling"]
        if self._pooling == "weighted":
            (self._score,) = model.get_layer("pooling").get_weights()
        self._projection: tuple[np.ndarray, np.ndarray] | None = None
        if self._kind == "word_pieces":
            self._read_embeddings(encoder, weights)
        else:
            words = {weight.path.split("/")[-1]: np.asarray(weight) for weight in model.get_layer("words").weights}
            self.table, self._positions = ServedTable(words["table"], weights), words["positions"]
            norm = model.get_layer("words_norm")
            self.norm = Norm(norm.get_weights(), norm.epsilon)
        layers = [layer for layer in encoder.layers if layer.name.startswith("transformer_layer_")]
        self.layers = [TransformerLayer(layer_weights(layer), weights) for layer in layers]
        self._distances = None
        if isinstance(layers[0], MPNetLayer):
            distances = encoder.get_layer("attention_bias")
            self._distances = distances.num_buckets, distances.get_weights()[0]

    def _read_embeddings(self, encoder: Any, weights: str) -> None:
        by_end = arrays_of(encoder)
        self.table = ServedTable(by_end["token_embedding/embeddings"], weights)
        (positions,) = (value for path, value in by_end.items() if path.startswith("position_embedding/"))
        segment = by_end.get("segment_embedding/embeddings")
        self._positions = positions if segment is None else positions + segment[0]
        norm = encoder.get_layer("embeddings_layer_norm")
        self.norm = Norm(norm.get_weights(), norm.epsilon)
        kernel = by_end.get("embeddings_projection/kernel")  # of small ELECTRAs
        if kernel is not None:
            self._projection = kernel, by_end["embeddings_projection/bias"]

    def _embedded(self, texts: tf.Tensor, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the first layer reads, `[n, tokens, width]`, and which of it are tokens, `[n, tokens]` float32."""
        read = inputs(texts)
        if self._kind == "word_pieces":
            vectors, mask = self.table(read["token_ids"]), tf.cast(read["padding_mask"], tf.float32)
        else:
            ids = read["ids"]
            real = tf.cast(ids > 0, tf.float32)
            sums = tf.reduce_sum(self.table(ids) * real[..., None], 2)
            start = tf.zeros_like(sums[:, :1])
            vectors = tf.concat([start, sums], 1)
            mask = tf.concat([tf.ones_like(real[:, :1, 0]), real[:, :, 0]], 1)
        longest = inputs.max_length if self._kind == "word_pieces" else 1 + inputs.max_words
        return vectors + tf.constant(self._positions[:longest])[: tf.shape(vectors)[1]], mask

    def pooled(self, texts: tf.Tensor, inputs: Any, constant: bool) -> tf.Tensor:
        """Runs the encoder, and pools its states."""
        vectors, mask = self._embedded(texts, inputs)
        n, tokens = tf.shape(mask)[0], tf.shape(mask)[1]
        bias = (mask - 1.0)[:, None, None] * -PADDING
        if self._distances is not None:
            buckets, by_distance = self._distances
            biases = by_distance[relative_buckets(inputs.max_length, buckets)].transpose(2, 0, 1)[None]
            bias += tf.constant(biases)[:, :, :tokens, :tokens]
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
