"""Transformer encoders of towers: cut out of a pretrained or fine-tuned one, or new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_hub
import numpy as np

from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.config.twin import SCRATCH, TwinConfig
from tfb2d.teachers.models import build_classifier, precision
from tfb2d.teachers.packing import Packer

NEEDED = {"token_ids", "padding_mask"}
READ = NEEDED | {"segment_ids"}  # inputs of encoders that towers know to feed


@dataclass(frozen=True)
class Source:
    """An encoder to start from, and how it reads texts."""

    backbone: keras_hub.models.Backbone  # the encoder
    pieces: dict[str, Any]  # its tokenizer's settings: arguments of `WordPieceInputs`, without the length


def read_source(preset: str, length: int) -> Source:
    """Reads an encoder and its tokenizer's settings from a preset that teachers take, or a saved teacher's `model`.

    `length` is that of the longest text, in tokens. Raises ConfigError where there is no such preset, or it is no WordPiece
    encoder that towers know to feed.
    """
    try:
        classifier = build_classifier(TeacherConfig(preset=preset, max_length=1), 1)
    except ConfigError as error:
        raise ConfigError(str(error).replace("teachers.*.", "twin.")) from error
    backbone, tokenizer = classifier.backbone, classifier.preprocessor.tokenizer
    positions = getattr(backbone, "max_sequence_length", None)
    if positions and length > positions:
        raise ConfigError(f"twin.title_length and twin.query_length: {preset} takes {positions} tokens, not {length}")
    inputs = list(classifier.input)
    suitable = isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer) and NEEDED <= set(inputs) <= READ
    if not suitable or "num_layers" not in backbone.get_config():
        raise ConfigError(
            f"twin.preset: {preset or 'the teacher'} is a {type(backbone).__name__} with a "
            f"{type(tokenizer).__name__}; towers start from WordPiece encoders (BERT, DistilBERT, ELECTRA, MPNet); name "
            "another twin.preset, or 'scratch'"
        )
    packer = Packer(classifier.preprocessor, inputs, length)
    names = list(tokenizer.get_vocabulary())
    special = {"start": packer.start[0], "end": packer.end[0], "padding": packer.pad_id}
    pieces = {
        "vocabulary": names,
        "lowercase": bool(tokenizer.lowercase),
        "strip_accents": bool(tokenizer.strip_accents),
        **{name: names[index] for name, index in special.items()},
        "unknown": tokenizer.oov_token,
    }
    return Source(backbone, pieces)


def layers_taken(of: int, layers: int, take: str) -> list[int]:
    """Returns the indices of the Transformer layers that an encoder of fewer `layers` takes; too few are a ConfigError.

    `take` is "first", or "spaced": evenly, the last among them, as 2, 4, 6 of six (TinyBERT, arXiv 1909.10351).
    """
    if layers > of:
        raise ConfigError(f"twin.layers is {layers}; the encoder that twin.preset names has {of}")
    if take == "first":
        return list(range(layers))
    return [round((index + 1) * of / layers) - 1 for index in range(layers)]


def cut(source: keras_hub.models.Backbone, config: TwinConfig) -> keras_hub.models.Backbone:
    """Returns an encoder with `config.layers` of another's layers; raises ConfigError where there are too few."""
    settings = source.get_config()
    chosen = layers_taken(settings["num_layers"], config.layers, config.take)
    settings |= {"num_layers": config.layers, "dropout": config.dropout, "name": "encoder"}
    settings["dtype"] = keras.DTypePolicy(precision(config.mixed_precision))
    shallow = type(source).from_config(settings)
    for layer in shallow.layers:
        stem, _, index = layer.name.rpartition("_")
        name = f"{stem}_{chosen[int(index)]}" if stem == "transformer_layer" else layer.name
        for variable, start in zip(layer.weights, source.get_layer(name).weights, strict=True):
            variable.assign(np.asarray(keras.ops.convert_to_numpy(start)))
    return shallow


def new_encoder(config: TwinConfig, vocabulary: Sequence[str]) -> keras_hub.models.Backbone:
    """Returns a BERT encoder with random weights, for texts of `config`'s lengths."""
    return keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=config.layers,
        num_heads=config.heads,
        hidden_dim=config.hidden,
        intermediate_dim=config.intermediate,
        dropout=config.dropout,
        max_sequence_length=max(config.query_length, config.title_length),
        num_segments=1,
        dtype=precision(config.mixed_precision),
        name="encoder",
    )


def starting_encoder(config: TwinConfig, source: Source) -> keras_hub.models.Backbone:
    """Returns a tower's encoder as the settings say: cut out of the source, or new with the source's vocabulary."""
    if config.preset == SCRATCH:
        return new_encoder(config, source.pieces["vocabulary"])
    return cut(source.backbone, config)


def encoder_from_json(value: dict[str, Any], mixed_precision: bool) -> keras_hub.models.Backbone:
    """Builds the encoder that Keras serialised, with random weights."""
    policy = keras.saving.serialize_keras_object(keras.DTypePolicy(precision(mixed_precision)))
    encoder: Any = keras.saving.deserialize_keras_object({**value, "config": {**value["config"], "dtype": policy}})
    return encoder
