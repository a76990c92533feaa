"""A model with the least work of any student: it lower-cases its texts, tokenizes them and hashes the tokens."""

import shutil
from pathlib import Path

import tensorflow as tf

from tfb2d.atomic import read_json
from tfb2d.model_folder import ABOUT
from tfb2d.students.text import flat_hashes

_MAX_TOKENS = 256


def export_floor(version: Path, folder: Path) -> None:
    """Writes a version folder of a model that takes an exported student's requests and only hashes their texts."""

    def sums(texts: tf.Tensor) -> tf.Tensor:
        """Returns the sum of each text's hashes, `[texts]` float32, so that no token is skipped."""
        hashes, positions, n = flat_hashes(texts, _MAX_TOKENS)
        return tf.math.unsorted_segment_sum(tf.cast(hashes, tf.float32), positions[:, 0], n)

    def score(**fields: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = list(fields.values())
        return {"score": tf.add_n(tf.split(sums(tf.concat(columns, 0)), len(columns)))}

    def rank(query: tf.Tensor, titles: tf.Tensor) -> dict[str, tf.Tensor]:
        both = sums(tf.concat([query, tf.reshape(titles, [-1])], 0))
        title_sums = tf.reshape(both[tf.size(query) :], tf.shape(titles))
        return {"scores": title_sums + both[: tf.size(query), None]}

    about = read_json(version / ABOUT)
    column = tf.TensorSpec([None], tf.string)
    fields = {name: tf.TensorSpec([None], tf.string, name) for name in about["task"]["fields"]}
    signatures = {"serving_default": tf.function(score).get_concrete_function(**fields)}
    if "rank" in about["signatures"]:
        titles = tf.TensorSpec([None, None], tf.string, "titles")
        signatures["rank"] = tf.function(rank).get_concrete_function(column, titles)
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    shutil.copytree(version / "assets.extra", folder / "assets.extra", ignore=shutil.ignore_patterns("edge"))
