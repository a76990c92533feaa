"""A twin: two towers and a crossing layer, with its settings and its task; saved as JSON and safetensors."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from tfb2d.atomic import atomic_path, read_json, write_json
from tfb2d.config import ConfigError
from tfb2d.config.mapping import build
from tfb2d.config.twin import TwinConfig
from tfb2d.data.task import Task
from tfb2d.twin.crossing import crossing_layer
from tfb2d.twin.encoders import Source
from tfb2d.twin.inputs import inputs_from_spec
from tfb2d.twin.towers import Tower, look_up_tower, tower_from_json, tri_letter_tower, with_length, word_piece_tower

FILE = "twin.json"  # written last: a folder that has it is whole
WEIGHTS = "weights.safetensors"
FORMAT = 1


class Twin:
    """Two towers and what crosses their embeddings.

    Towers that share weights share their `model`. `crossing` makes logits `[n]` of two batches of embeddings `[n, dim]`.
    """

    def __init__(
        self, config: TwinConfig, task: Task, query_tower: Tower, title_tower: Tower, crossing: keras.layers.Layer
    ) -> None:
        self.config, self.task = config, task
        self.query_tower, self.title_tower, self.crossing = query_tower, title_tower, crossing

    @property
    def shared(self) -> bool:
        """Says whether both towers have the same weights."""
        return self.query_tower.model is self.title_tower.model

    @property
    def towers(self) -> list[Tower]:
        """Lists the towers whose weights differ."""
        return [self.query_tower] if self.shared else [self.query_tower, self.title_tower]

    def embed_query(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the queries' embeddings, `[n, dim]` float32, of length 1."""
        return self.query_tower.embed(texts)

    def embed_title(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the titles' embeddings, `[n, dim]` float32, of length 1."""
        return self.title_tower.embed(texts)

    def cross(self, queries: np.ndarray, titles: np.ndarray) -> np.ndarray:
        """Returns the logits of pairs of embeddings, `[n, 1]` float32."""
        parts = [
            self.crossing(tf.constant(queries[at : at + 65536]), tf.constant(titles[at : at + 65536])).numpy()
            for at in range(0, len(queries), 65536)
        ]
        return np.concatenate([np.zeros(0, np.float32), *parts])[:, None]

    def logits(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns the logits of n queries and n titles, `[n, 1]` float32; each distinct text is embedded once."""
        queries, query_of = distinct(columns[0])
        titles, title_of = distinct(columns[1])
        return self.cross(self.embed_query(queries)[query_of], self.embed_title(titles)[title_of])

    def weights(self) -> dict[str, keras.Variable]:
        """Returns all variables but the counters of dropout, by names that do not change."""
        named: dict[str, keras.Variable] = {}
        models = [("query", self.query_tower.model)]
        if not self.shared:
            models.append(("title", self.title_tower.model))
        for name, part in [*models, ("crossing", self.crossing)]:
            named |= {f"{name}.{i:04d}": variable for i, variable in enumerate(part.weights)}
        return named

    def save(self, folder: Path, about: dict[str, Any] | None = None) -> None:
        """Writes the twin; `about` goes into `twin.json` as well."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).unlink(missing_ok=True)
        arrays = {name: np.array(keras.ops.convert_to_numpy(value)) for name, value in self.weights().items()}
        with atomic_path(folder / WEIGHTS) as path:
            save_file(arrays, path)
        towers = {"query": self.query_tower.to_json(), "title": self.title_tower.to_json()}
        if self.shared:  # the same shape, perhaps another length
            towers["title"].pop("shape")
        settings = {"config": dataclasses.asdict(self.config), "task": self.task.to_json(), "towers": towers}
        write_json(folder / FILE, {"format": FORMAT, **settings, **(about or {})})


def distinct(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Returns the distinct texts, in the order in which they come, and the index of each text among them, int64 `[n]`."""
    index: dict[str, int] = {}
    at = np.fromiter((index.setdefault(text, len(index)) for text in texts), np.int64, len(texts))
    return list(index), at


def new_twin(config: TwinConfig, task: Task, source: Source | None) -> Twin:
    """Makes a twin that is not trained; an "asymmetric" one is made from a trained twin (`with_look_up_queries`).

    `source` is the encoder whose weights or word pieces the towers take; None where they take neither. Raises
    ConfigError where it cannot be used.
    """
    keras.utils.set_random_seed(config.seed)
    if config.kind == "ngram":
        query, title = look_up_tower(config), None if config.shared else look_up_tower(config)
    elif config.inputs == "triletters":
        query = tri_letter_tower(config, config.query_length)
        title = None if config.shared else tri_letter_tower(config, config.title_length)
    else:
        assert source is not None
        query = word_piece_tower(config, source, config.query_length)
        title = None if config.shared else word_piece_tower(config, source, config.title_length)
    title = title or with_length(query, config.title_length)
    return Twin(config, task, query, title, crossing_layer(config.crossing, config.dim))


def with_look_up_queries(config: TwinConfig, twin: Twin) -> Twin:
    """Returns a twin with a new look-up query tower, and another's title tower and crossing layer."""
    keras.utils.set_random_seed(config.seed)
    return Twin(config, twin.task, look_up_tower(config), twin.title_tower, twin.crossing)


def load_twin(folder: Path, mixed_precision: bool = False) -> Twin:
    """Loads what `Twin.save` wrote; with `mixed_precision` transformer towers compute in bfloat16, where the machine can.

    Raises ConfigError where the folder holds no twin, an unfinished one, or one of a later version.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise ConfigError(f"{folder} has no {FILE}: it is no saved twin, or its training was not finished")
    about = read_json(path)
    if about["format"] != FORMAT:
        raise ConfigError(f"{path}: format {about['format']}; this version of tfb2d reads {FORMAT}")
    config: TwinConfig = build(TwinConfig, about["config"])
    towers = about["towers"]
    query = tower_from_json(towers["query"], mixed_precision)
    if "shape" in towers["title"]:
        title = tower_from_json(towers["title"], mixed_precision)
    else:
        title = Tower(inputs_from_spec(towers["title"]["inputs"]), query.model, query.shape)
    twin = Twin(config, Task.from_json(about["task"]), query, title, crossing_layer(config.crossing, config.dim))
    arrays = load_file(Path(folder) / WEIGHTS)
    named = twin.weights()
    if named.keys() != arrays.keys():
        raise ConfigError(f"{folder}: {WEIGHTS} and {FILE} do not belong together")
    for name, variable in named.items():
        variable.assign(arrays[name])
    return twin
