"""A (query, title) SavedModel of two hashes, with an exported student's signatures."""

import shutil
from pathlib import Path

import tensorflow as tf

BUCKETS = 2**20  # scores are exact in float32


class Tiny(tf.Module):
    """score = hash(query, title) / BUCKETS, `shift`ed so that versions differ."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = tf.Variable(shift)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in ("query", "title")])
    def pairs(self, query, title):
        score = self._score(query, title)
        return {"score": score, "logit": 10 * score}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="query"),
            tf.TensorSpec([None, None], tf.string, name="titles"),
        ]
    )
    def rank(self, query, titles):
        return {"scores": self._score(tf.broadcast_to(query[:, None], tf.shape(titles)), titles)}

    def _score(self, query, title):
        ids = tf.strings.to_hash_bucket_fast(tf.strings.join([query, title], "\n"), BUCKETS)
        return tf.cast(ids, tf.float32) / BUCKETS + self.shift


def save(folder: Path, shift: float) -> None:
    """Writes a version; it appears whole."""
    model = Tiny(shift)
    partial = folder.with_name(f".{folder.name}")
    tf.saved_model.save(model, str(partial), signatures={"serving_default": model.pairs, "rank": model.rank})
    partial.rename(folder)


def copy(source: Path, folder: Path) -> None:
    partial = folder.with_name(f".{folder.name}")
    shutil.copytree(source, partial)
    partial.rename(folder)
