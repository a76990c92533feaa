"""Towers: from texts to vectors of length 1. A Keras model, and the inputs that cut texts into ids for it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tfb2d.config.twin import TwinConfig
from tfb2d.teachers.models import precision
from tfb2d.twin.encoders import Source, encoder_from_json, starting_encoder
from tfb2d.twin.inputs import Inputs, NGramInputs, TriLetterInputs, WordPieceInputs, inputs_from_spec
from tfb2d.twin.layers import NGramPool, Pooling, TriLetterEmbedding, UnitLength
from tfb2d.twin.texts import PackedTexts

BATCH_TOKENS = 8192  # tokens, padding included, of a forward pass
ENCODER, EMBEDDING = "encoder", "embedding"  # names of a tower's parts


class Tower:
    """Embeds texts: `inputs` cut them into ids, `model` makes vectors of length 1, `[n, dim]` float32.

    From `shape` `tower_from_json` makes the same model, without weights.
    """

    def __init__(self, inputs: Inputs, model: keras.Model, shape: dict[str, Any]) -> None:
        self.inputs, self.model, self.shape = inputs, model, shape

    def pack(self, texts: Sequence[str]) -> PackedTexts:
        """Cuts texts into ids, once for all uses."""
        return PackedTexts.of(self.inputs, texts)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the texts' vectors, `[n, dim]` float32."""
        return self.embed_packed(self.pack(texts))

    def embed_packed(self, packed: PackedTexts) -> np.ndarray:
        """Returns the vectors of texts that are cut into ids already, `[n, dim]` float32."""
        vectors = np.empty((len(packed), self.model.output_shape[-1]), np.float32)
        for rows in packed.batches(BATCH_TOKENS):
            vectors[rows] = self._forward(packed.batch(rows)).numpy()
        return vectors

    @cached_property
    def _forward(self) -> Any:
        signature = signature_of(self.model)
        # Traced once for any shape: a trace of its own for the first shape would round the last bit differently.
        return tf.function(lambda inputs: self.model(inputs, training=False), input_signature=[signature])

    def to_json(self) -> dict[str, Any]:
        """Returns inputs and shape, as JSON can hold them."""
        return {"inputs": self.inputs.spec(), "shape": self.shape}


def signature_of(model: keras.Model) -> dict[str, tf.TensorSpec]:
    """Returns what `tf.function` takes a tower's inputs as."""
    return {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name) for name, value in sorted(model.input.items())
    }


def word_piece_tower(config: TwinConfig, source: Source, length: int) -> Tower:
    """Makes a transformer tower that reads word pieces, from the source's weights or from scratch."""
    encoder = starting_encoder(config, source)
    shape = {"kind": "word_pieces", "encoder": keras.saving.serialize_keras_object(encoder), **_head(config)}
    return Tower(WordPieceInputs(**source.pieces, max_length=length), _word_piece_model(encoder, shape), shape)


def tri_letter_tower(config: TwinConfig, length: int) -> Tower:
    """Makes a transformer tower that reads tri-letters, with random weights."""
    names = ("letter_buckets", "layers", "heads", "hidden", "intermediate", "dropout")
    shape = {
        "kind": "tri_letters",
        "max_words": max(config.query_length, config.title_length),
        **{name: getattr(config, name) for name in names},
        **_head(config),
    }
    model = _tri_letter_model(shape, precision(config.mixed_precision))
    return Tower(TriLetterInputs(config.letter_buckets, length), model, shape)


def look_up_tower(config: TwinConfig) -> Tower:
    """Makes a tower that looks hashed n-grams up, with random weights."""
    names = ("buckets", "orders", "width", "dim")
    shape = {"kind": "n_grams", **{name: getattr(config, name) for name in names}}
    inputs = NGramInputs(config.buckets, config.orders, config.max_tokens)
    return Tower(inputs, _look_up_model(shape), shape)


def with_length(tower: Tower, length: int) -> Tower:
    """Returns a tower that shares another's model and reads texts of another length, or the same tower."""
    spec = tower.inputs.spec()
    name = {"wordpiece": "max_length", "triletters": "max_words"}.get(spec["kind"], "")
    if not name or spec[name] == length:
        return tower
    return Tower(inputs_from_spec({**spec, name: length}), tower.model, tower.shape)


def tower_from_json(value: dict[str, Any], mixed_precision: bool) -> Tower:
    """Makes the tower that `Tower.to_json` described, with random weights."""
    shape = value["shape"]
    if shape["kind"] == "word_pieces":
        model = _word_piece_model(encoder_from_json(shape["encoder"], mixed_precision), shape)
    elif shape["kind"] == "tri_letters":
        model = _tri_letter_model(shape, precision(mixed_precision))
    else:
        model = _look_up_model(shape)
    return Tower(inputs_from_spec(value["inputs"]), model, shape)


def _head(config: TwinConfig) -> dict[str, Any]:
    return {"pooling": config.pooling, "dim": config.dim}


def _embedding(states: Any, mask: Any, shape: dict[str, Any]) -> Any:
    """Adds pooling, tanh(W h) and the scaling to length 1, all in float32."""
    pooled = Pooling(shape["pooling"], dtype="float32", name="pooling")(states, mask)
    narrow = keras.layers.Dense(shape["dim"], "tanh", dtype="float32", name=EMBEDDING)(pooled)
    return UnitLength(dtype="float32", name="unit_length")(narrow)


def _word_piece_model(encoder: keras_hub.models.Backbone, shape: dict[str, Any]) -> keras.Model:
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    read = dict(inputs)
    if "segment_ids" in encoder.input:
        read["segment_ids"] = keras.ops.zeros_like(inputs["token_ids"])
    outputs = encoder.output
    if isinstance(outputs, dict):  # without what pools them, which would have weights that nothing learns from
        encoder = keras.Model(encoder.input, outputs["sequence_output"], name=ENCODER)
    states = encoder(read)
    return keras.Model(inputs, _embedding(states, inputs["padding_mask"], shape), name="tower")


def _tri_letter_model(shape: dict[str, Any], dtype: str) -> keras.Model:
    ids = keras.Input((None, None), dtype="int32", name="ids")
    words = TriLetterEmbedding(shape["letter_buckets"], shape["hidden"], shape["max_words"], dtype=dtype, name="words")
    states = keras.layers.LayerNormalization(epsilon=1e-12, dtype=dtype, name="words_norm")(words(ids))
    words_there = keras.ops.cast(ids[:, :, 0] > 0, "int32")
    mask = keras.ops.concatenate([keras.ops.ones_like(ids[:, :1, 0]), words_there], axis=1)
    for index in range(shape["layers"]):
        layer = keras_hub.layers.TransformerEncoder(
            shape["intermediate"],
            shape["heads"],
            dropout=shape["dropout"],
            activation="gelu",
            layer_norm_epsilon=1e-12,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=dtype,
            name=f"transformer_layer_{index}",
        )
        states = layer(states, padding_mask=mask)
    return keras.Model({"ids": ids}, _embedding(states, mask, shape), name="tower")


def _look_up_model(shape: dict[str, Any]) -> keras.Model:
    ids = keras.Input((None, len(shape["orders"])), dtype="int32", name="ids")
    lengths = keras.Input((), dtype="int32", name="lengths")
    pooled = NGramPool(shape["buckets"], shape["width"], dtype="float32", name="n_grams")(ids, lengths)
    # A square W starts as it leaves vectors: then rows of the table are embeddings of n-grams from the start.
    start = "identity" if shape["width"] == shape["dim"] else "glorot_uniform"
    narrow = keras.layers.Dense(shape["dim"], "tanh", kernel_initializer=start, dtype="float32", name=EMBEDDING)
    vectors = UnitLength(dtype="float32", name="unit_length")(narrow(pooled))
    return keras.Model({"ids": ids, "lengths": lengths}, vectors, name="tower")
