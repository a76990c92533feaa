"""Reads MPNet from the folder that Hugging Face's libraries write: `config.json`, `model.safetensors`, `vocab.txt`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from tfb2d.config import ConfigError
from tfb2d.teachers.hugging_face import preprocessor_of
from tfb2d.teachers.mpnet import MPNetBackbone, MPNetTextClassifier

SETTINGS = {  # what `MPNetBackbone` calls them, by Hugging Face's name
    "vocab_size": "vocabulary_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "hidden_dim",
    "intermediate_size": "intermediate_dim",
    "hidden_dropout_prob": "dropout",
    "max_position_embeddings": "max_sequence_length",
    "relative_attention_num_buckets": "num_buckets",
}
KNOWN = {"hidden_act": "gelu", "layer_norm_eps": 1e-5}  # what `mpnet.py` computes with
RESERVED_POSITIONS = 2  # the first rows of the position table are never a token's


def load_mpnet(folder: Path, num_classes: int, dtype: str) -> MPNetTextClassifier:
    """Builds a classifier from the folder's encoder and a fresh head, in a Keras dtype policy.

    Raises ConfigError where a file or a tensor is missing, or the encoder differs from what `mpnet.py` computes.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    missing = [name for name in SETTINGS if name not in config]
    if missing:
        raise ConfigError(f"{folder / 'config.json'}: there is no {missing[0]!r}")
    for name, known in KNOWN.items():
        if config.get(name, known) != known:
            raise ConfigError(f"{folder / 'config.json'}: {name} is {config[name]!r}; MPNet is known with {known!r}")
    if not (folder / "model.safetensors").is_file():
        raise ConfigError(f"{folder}: there is no model.safetensors")
    settings = {ours: config[theirs] for theirs, ours in SETTINGS.items()}
    settings["max_sequence_length"] -= RESERVED_POSITIONS
    backbone = MPNetBackbone(**settings, dtype=dtype)
    with safe_open(str(folder / "model.safetensors"), "numpy") as file:
        names = set(file.keys())

        def tensor(name: str) -> np.ndarray:
            for full in (name, f"mpnet.{name}"):  # as an encoder of its own, or below a head
                if full in names:
                    return np.asarray(file.get_tensor(full), np.float32)
            raise ConfigError(f"{folder / 'model.safetensors'}: there is no tensor {name!r}")

        _fill(backbone, tensor)
    return MPNetTextClassifier(backbone, num_classes, preprocessor_of(folder, "mpnet"))


def _fill(backbone: MPNetBackbone, tensor: Callable[[str], np.ndarray]) -> None:
    def dense(layer: Any, *names: str) -> None:
        layer.kernel.assign(np.concatenate([tensor(f"{name}.weight").T for name in names], 1))
        layer.bias.assign(np.concatenate([tensor(f"{name}.bias") for name in names]))

    def norm(layer: Any, name: str) -> None:
        layer.gamma.assign(tensor(f"{name}.weight"))
        layer.beta.assign(tensor(f"{name}.bias"))

    backbone.token_embedding.embeddings.assign(tensor("embeddings.word_embeddings.weight"))
    positions = tensor("embeddings.position_embeddings.weight")[RESERVED_POSITIONS:]
    backbone.position_embedding.position_embeddings.assign(positions)
    norm(backbone.embeddings_layer_norm, "embeddings.LayerNorm")
    backbone.attention_bias.table.assign(tensor("encoder.relative_attention_bias.weight"))
    for i, layer in enumerate(backbone.transformer_layers):
        name = f"encoder.layer.{i}"
        dense(layer.query_key_value, *(f"{name}.attention.attn.{part}" for part in "qkv"))
        dense(layer.attention_output, f"{name}.attention.attn.o")
        norm(layer.attention_norm, f"{name}.attention.LayerNorm")
        dense(layer.intermediate, f"{name}.intermediate.dense")
        dense(layer.output_dense, f"{name}.output.dense")
        norm(layer.output_norm, f"{name}.output.LayerNorm")
