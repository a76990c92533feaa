"""Exported models for the tests of search: a twin of hashed words and a ranker, both real SavedModels of core ops."""

import json
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

DIM, BUCKETS = 64, 4096


class WordTwin(tf.Module):
    """Embeds a text as the mean of its words' random vectors; `seed` makes another model."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = tf.Variable(tf.random.stateless_normal([BUCKETS, DIM], [seed, 1]))

    def vectors(self, texts):
        words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(texts), r"[^\w]+", " "))
        ids = tf.ragged.map_flat_values(tf.strings.to_hash_bucket_fast, words, BUCKETS)
        vectors = tf.reduce_sum(tf.ragged.map_flat_values(lambda i: tf.gather(self.table, i), ids), axis=1)
        return tf.math.l2_normalize(vectors + 1e-3 * self.table[0], axis=1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="query")])
    def embed_query(self, query):
        return {"embedding": self.vectors(query)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="title")])
    def embed_title(self, title):
        return {"embedding": self.vectors(title)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in ("query", "title")])
    def pairs(self, query, title):
        logit = self.logits(query, title)
        return {"score": tf.sigmoid(logit), "logit": logit}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="query"),
            tf.TensorSpec([None, None], tf.string, name="titles"),
        ]
    )
    def rank(self, query, titles):
        queries = tf.repeat(query, tf.shape(titles)[1])
        logits = self.logits(queries, tf.reshape(titles, [-1]))
        return {"scores": tf.reshape(tf.sigmoid(logits), tf.shape(titles))}

    def logits(self, query, title):
        """Likes short titles, so that ranking changes the first stage's order."""
        logit = 4 * tf.reduce_sum(self.vectors(query) * self.vectors(title), axis=1)
        return logit - tf.cast(tf.strings.length(title), tf.float32) / 10


class CrookedTwin(WordTwin):
    """Gives texts with "long" vectors of length 2, with "none" of 0, with "lost" of NaN."""

    def vectors(self, texts):
        factor = tf.ones([tf.size(texts), 1])
        for word, length in (("long", 2.0), ("none", 0.0), ("lost", float("nan"))):
            factor *= tf.where(tf.strings.regex_full_match(texts, f".*{word}.*"), length, 1.0)[:, None]
        return super().vectors(texts) * factor


def export(
    folder: Path, seed: int = 0, version: int = 1, kind: str = "twin", make: Callable[[int], WordTwin] = WordTwin
) -> Path:
    """Writes a model's version folder; returns the model's folder."""
    model, target = make(seed), folder / str(version)
    names = {"serving_default": "pairs", "rank": "rank", "embed_query": "embed_query", "embed_title": "embed_title"}
    signatures = {name: getattr(model, method) for name, method in names.items()}
    tf.saved_model.save(model, str(target), signatures=signatures)
    (target / "assets.extra").mkdir(exist_ok=True)
    about = {"kind": kind, "task": {"fields": ["query", "title"]}}
    (target / "assets.extra" / "tfb2d.json").write_text(json.dumps(about))
    return folder
