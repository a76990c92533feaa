"""Small twins with random weights, of every kind, for tests of how twins are saved and served."""

import string

import keras_hub
import numpy as np

from tfb2d.config.twin import SCRATCH, TwinConfig
from tfb2d.data.task import Task
from tfb2d.teachers.mpnet import MPNetBackbone
from tfb2d.twin.encoders import Source
from tfb2d.twin.model import Twin, new_twin, with_look_up_queries
from tfb2d.twin.towers import Tower

TASK = Task(("query", "title"))
CHARACTERS = string.ascii_lowercase + string.digits + ".,-/éß中日"
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "usb", "cable", *CHARACTERS, *("##" + c for c in CHARACTERS))
SPECIAL = {"start": "[CLS]", "end": "[SEP]", "padding": "[PAD]", "unknown": "[UNK]"}
PIECES = {"vocabulary": VOCABULARY, "lowercase": True, "strip_accents": True, **SPECIAL}
SHAPE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 24}

TEXTS = ["usb cable 2 m", "", "café USB-C cables, 3.5 mm", "中日 ß x", " ", "a", "usb " * 40, "a-very-long-word" * 10]


def encoder(family: str) -> keras_hub.models.Backbone:
    """Returns a tiny encoder of one of the families that towers start from."""
    if family == "electra":
        return keras_hub.models.ElectraBackbone(vocab_size=len(VOCABULARY), embedding_dim=8, **SHAPE)
    if family == "mpnet":
        return MPNetBackbone(vocabulary_size=len(VOCABULARY), num_buckets=8, **SHAPE)
    made = {"bert": keras_hub.models.BertBackbone, "distilbert": keras_hub.models.DistilBertBackbone}[family]
    return made(vocabulary_size=len(VOCABULARY), **SHAPE)


def twin(kind: str, **settings) -> Twin:
    """Returns a twin: "bert", "distilbert", "electra", "mpnet", "triletters", "ngram" or "asymmetric" (BERT titles)."""
    shape = {"layers": 2, "query_length": 10, "title_length": 20, "dim": 8, **settings}
    if kind == "ngram":
        return new_twin(TwinConfig(kind=kind, buckets=512, width=8, **shape), TASK, None)
    if kind == "triletters":
        own = {"preset": SCRATCH, "inputs": kind, "letter_buckets": 256, "hidden": 16, "heads": 2, "intermediate": 32}
        return new_twin(TwinConfig(**own, **shape), TASK, None)
    if kind == "asymmetric":
        config = TwinConfig(kind=kind, preset="bert", buckets=512, width=8, **shape)
        return with_look_up_queries(config, twin("bert", **settings))
    return new_twin(TwinConfig(preset=kind, **shape), TASK, Source(encoder(kind), PIECES))


def shake(tower: Tower) -> None:
    """Gives a tower's weights random values, biases and norms too: those of a new one are zeros and ones."""
    rng = np.random.default_rng(0)
    for weight in tower.model.weights:
        if "seed" not in weight.path:
            weight.assign(np.asarray(weight) + rng.normal(0, 0.3, weight.shape).astype(np.float32))
