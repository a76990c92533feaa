"""The student: strings -> hashed n-grams -> pooled fields and their interaction -> feed-forward network -> logit."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras
from safetensors.numpy import load_file, save_file

from tfb2d.atomic import atomic_path, read_json, write_json
from tfb2d.config import StudentConfig
from tfb2d.config.mapping import build
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.students import ngrams, text_spec
from tfb2d.students.composed import ComposedPool
from tfb2d.students.early_exit import EarlyExit
from tfb2d.students.layers import NGramEmbedding, SeededDropout, SqrtNPool, TokenHashes, start_rows
from tfb2d.students.optimizer import shards
from tfb2d.students.packed import PackedNGramEmbedding, embedding
from tfb2d.students.pairs import Field, KernelPooling, MatchedPools, pooled_features
from tfb2d.students.spelling import SPELLING, Dictionary

if TYPE_CHECKING:
    from tfb2d.students.rows import TrainingRows

WEIGHTS = "weights.safetensors"


class Student:
    """Is a student as it is trained: tf_keras functional models from strings and from hashes, which share their layers.

    `model` takes strings, one `[batch]` tensor per field. `trunk` takes the fields' token hashes,
    ragged `[batch, (tokens)]` int64, and is what is trained: texts are hashed once, not every epoch. Both give logits
    `[batch, task.n_logits]` float32.

    Args:
      task: fields and classes.
      config: the shape; see `StudentConfig`.
      seed: of start values and dropout.
      compression: what `tfb2d/compress` did to the student, if anything; it is saved with it. `compression["tables"]` has
        the stored form of the tables "ngrams" and "kernels". A compressed student cannot be trained.
      dictionary: of a student with `config.spelling`, the words that a query's misspelt ones are read as.

    Example:
      >>> student = Student(task, StudentConfig())
      >>> student.model([tf.constant(["usb cable"]), tf.constant(["usb c cable 1 m"])])

    Reference: BERT2DNN (arXiv 2010.10442); the interaction features are named in `StudentConfig`.
    """

    def __init__(
        self,
        task: Task,
        config: StudentConfig,
        seed: int = 0,
        compression: dict[str, Any] | None = None,
        dictionary: Dictionary | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.seed = seed
        self.compression = compression
        self.dictionary = dictionary
        forms = compression["tables"] if compression else {}
        pair = len(task.fields) == 2
        # Layers.
        self.tokens = TokenHashes(config.max_tokens, config.affixes, name="tokens")
        self.query_tokens = self.tokens
        if dictionary:
            self.query_tokens = TokenHashes(config.max_tokens, known=dictionary.known.tolist(), name="query_tokens")
        shape: dict[str, Any] = {"buckets": config.buckets, "dim": config.dim, "orders": config.orders}
        dropout = config.ngram_dropout
        composed = {"window": config.window, "affixes": config.affixes, "vocabulary": config.vocabulary}
        self.ngrams = embedding(forms.get("ngrams"), **shape, **composed, dropout=dropout, seed=seed, name="ngrams")
        self.pool = SqrtNPool(name="pool")
        if config.window:
            both = config.early_exit > 0 or config.convolution_dim > 0
            self.pool = ComposedPool(
                config.convolutions, config.convolution_width, seed + 100, both, config.convolution_dim, name="pool"
            )
        self.matched = MatchedPools(self.ngrams, name="matched") if pair and config.matched else None
        self.kernels = None
        if pair and config.soft_match:
            shape |= {"buckets": config.soft_buckets, "orders": (1,)}
            soft = embedding(forms.get("kernels"), **shape, seed=seed + 1, name="soft_tokens")
            self.kernels = KernelPooling(config.kernels, soft, name="kernels")
        first, *later = (*config.ffn, task.n_logits)
        # The first dense layer is split by side, so that ranking multiplies a query once for all of its titles.
        self.query_dense = _dense(first, seed + 2, "query_dense", use_bias=False) if pair else None
        self.first_dense = _dense(first, seed + 3, "first_dense")
        self.dropouts = [SeededDropout(config.dropout, seed + 10 + i, name=f"dropout_{i}") for i in range(len(later))]
        self.denses = [_dense(width, seed + 4 + i, f"dense_{i}") for i, width in enumerate(later)]
        self.relu = tf_keras.layers.ReLU(name="relu")
        self.exit = EarlyExit(name="exit") if config.early_exit else None
        widths = (first, *later) if self.exit else ()
        self.cheap_denses = [_dense(width, seed + 200 + i, f"cheap_dense_{i}") for i, width in enumerate(widths)]
        # Functional models.
        texts = [tf_keras.Input((), dtype=tf.string, name=f"{name}_texts") for name in task.fields]
        hashes = [tf_keras.Input((None,), dtype=tf.int64, ragged=True, name=f"{name}_hashes") for name in task.fields]
        self.trunk = tf_keras.Model(hashes, self._logits(hashes), name="trunk")
        # Both outputs of a student with an early exit: cheap logits and full ones.
        self.paths = None
        if self.exit:
            self.paths = tf_keras.Model(hashes, self.both_logits(self.pool(self.ngrams(hashes[0]), hashes[0])))
        self.model = tf_keras.Model(texts, self.trunk(self.hashes(texts)), name="student")

    def _logits(self, hashes: list[tf.RaggedTensor]) -> tf.Tensor:
        vectors = [self.ngrams(field) for field in hashes]
        pools = [self.pool(*pair) for pair in zip(vectors, hashes, strict=True)]
        interactions = []
        if self.matched:
            interactions.append(self.matched(*hashes, *vectors, *pools))
        if self.kernels:
            interactions.append(self.kernels(*hashes))
        return self.feed_forward(pools, interactions)

    def logits_of(
        self, fields: Sequence[Field], units: Sequence[tf.Tensor], pairs: tf.Tensor | None, exits: bool | None = None
    ) -> tf.Tensor:
        """Computes logits as `trunk` does, `[batch, n_logits]`, from n-gram vectors in either layout.

        Args:
          fields: one a text field; a query's batch may be 1.
          units, pairs: of soft matching, each field's vectors and the weights of pairs; see `KernelPooling.features`.
          exits: of a student with an early exit, whether all texts take it; None lets each margin say.
        """
        pools = [self.pool.pool(field.ngrams, field.texts) for field in fields]
        interactions = []
        if self.matched:
            interactions.append(self.matched.features(*fields, *pools))
        if self.kernels:
            query_units, title_units = units
            interactions.append(self.kernels.features(fields[0].texts, query_units, title_units, pairs))
        if self.exit and exits is not None:
            cheap, full = self.both_logits(pools[0])
            return self.exit.decide(cheap)[0] if exits else full
        return self.feed_forward(pools, interactions)

    def both_logits(self, pools: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes cheap and full logits, `[batch, n_logits]` each, of `ComposedPool`'s two pools side by side."""
        dim = self.config.dim
        hidden = self.cheap_denses[0](pools[:, :dim])
        for dropout, dense in zip(self.dropouts, self.cheap_denses[1:], strict=True):
            hidden = dense(dropout(self.relu(hidden)))
        pools = pools if self.config.convolution_dim else pools[:, dim:]
        return hidden, self._later_layers(self.first_dense(pools))

    def feed_forward(self, pools: Sequence[tf.Tensor], interactions: Sequence[tf.Tensor]) -> tf.Tensor:
        """Computes logits of pools, one a field, and of what the layers that compare query and title give."""
        if self.exit:
            return self.exit(*self.both_logits(pools[0]))
        features = [*pools] if self.query_dense is None else pooled_features(self.config, *pools)
        features += interactions
        hidden = self.first_dense(tf.concat(features, -1) if len(features) > 1 else features[0])
        if self.query_dense:
            hidden = self.query_dense(pools[0]) + hidden  # in this order: Keras sorts `trunk.weights` by it
        return self._later_layers(hidden)

    def _later_layers(self, hidden: tf.Tensor) -> tf.Tensor:
        for dropout, dense in zip(self.dropouts, self.denses, strict=True):
            hidden = dense(dropout(self.relu(hidden)))
        return hidden

    @property
    def tables(self) -> list[tf.Variable]:
        """Lists the embedding tables, which row-wise Adagrad trains sparsely; of one on several servers its shards."""
        layers = [layer for layer in self.embeddings.values() if not isinstance(layer, PackedNGramEmbedding)]
        return [shard for layer in layers for shard in shards(layer.table)]

    @property
    def embeddings(self) -> dict[str, NGramEmbedding]:
        """Returns the layers that hold tables: "ngrams" and, of pairs with soft matching, "kernels"."""
        return {"ngrams": self.ngrams, **({"kernels": self.kernels.embedding} if self.kernels else {})}

    @property
    def dense_weights(self) -> list[tf.Variable]:
        """Lists all other trainable weights."""
        tables = {id(table) for table in self.tables}
        return [weight for weight in self.trunk.trainable_variables if id(weight) not in tables]

    def hashes(self, texts: Sequence[tf.Tensor]) -> list[tf.RaggedTensor]:
        """Hashes texts, one `[batch]` string tensor a field, to what `trunk` takes."""
        return [self.query_tokens(texts[0]), *map(self.tokens, texts[1:])]

    def tokens_read(self, text: str | bytes, field: int) -> list[bytes]:
        """Returns the tokens of a field's text as the student reads them: those of a query with its spelling corrected."""
        tokens = text_spec.tokens(text, self.config.max_tokens)
        return [self.dictionary.read(token) for token in tokens] if self.dictionary and field == 0 else tokens

    def learn_vocabulary(self, rows: "TrainingRows") -> None:
        """Fills the vocabulary with the most frequent tokens of the rows that the student will learn from.

        Tokens that occur once or twice get no row: that is too few to learn from, and their affixes say more.
        """
        if self.ngrams.known is None:
            return
        hashes, counts = ngrams.distinct(rows, 1)
        often = np.flatnonzero(counts >= text_spec.MIN_COUNT)
        best = often[np.argsort(-counts[often], kind="stable")][: self.config.vocabulary]
        known = np.full(self.config.vocabulary, text_spec.UNUSED)
        known[: len(best)] = np.sort(hashes[best])
        self.ngrams.known.assign(known)

    def start_from(self, hashes: np.ndarray, vectors: np.ndarray) -> None:
        """Starts token rows from a teacher's word vectors, turned to the tables' width by PCA.

        Rows keep the length that start values have, so that learning rates mean the same for all of them.

        Args:
          hashes: `[n]` int64 token hashes, most frequent first; where two fall into one row the more frequent stays. What
            a vocabulary lacks shares a row, which starts from the most frequent of them.
          vectors: `[n, width]` float, a teacher's vector of each token.

        Reference: Model2Vec (Tulkens & van Dongen 2024) reduces a sentence transformer's token vectors the same way.
        """
        reduced = start_rows(vectors, self.config.dim)
        for layer in self.embeddings.values():
            if 1 not in layer.orders and not layer.window:
                continue
            rows, first = np.unique(layer.rows_of(hashes), return_index=True)
            layer.table.scatter_nd_update(rows[:, None], reduced[first])

    def zero_rows(self, rows: np.ndarray) -> None:
        """Sets rows of the n-gram table, `[buckets]` bool, to zero: those that training never read.

        An n-gram that training never met then adds nothing, instead of its random start values. A compressed table can
        leave such rows out and score the same. Rows of soft matching keep their start values: they are compared, not
        pooled, and two unknown words must differ.
        """
        (unread,) = np.nonzero(rows)
        if len(unread):
            self.ngrams.table.scatter_nd_update(unread[:, None], np.zeros((len(unread), self.config.dim), np.float32))

    def save(self, folder: Path) -> None:
        """Writes `student.json`, `weights.safetensors` and, of a student with one, its dictionary."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / WEIGHTS) as path:
            save_file(named_arrays(self.trunk.weights), path)
        if self.dictionary is not None:
            self.dictionary.save(folder / SPELLING)
        about = {"task": self.task.to_json(), "config": dataclasses.asdict(self.config), "seed": self.seed}
        if self.compression:
            about["compression"] = self.compression
        write_json(folder / "student.json", {**about, "hash_spec": text_spec.SPEC["version"]})


def _dense(width: int, seed: int, name: str, use_bias: bool = True) -> tf_keras.layers.Dense:
    start = tf_keras.initializers.GlorotUniform(seed)
    return tf_keras.layers.Dense(width, use_bias=use_bias, kernel_initializer=start, name=name)


def load_student(folder: Path) -> Student:
    """Reads what `Student.save` wrote; raises DataError where it was trained with another version of the hash."""
    about = read_json(folder / "student.json")
    if about["hash_spec"] != text_spec.SPEC["version"]:
        raise DataError(
            f"{folder}: trained with hash spec {about['hash_spec']}, this is {text_spec.SPEC['version']}; train it again"
        )
    task, config = Task.from_json(about["task"]), build(StudentConfig, about["config"])
    dictionary = Dictionary.load(folder / SPELLING) if config.spelling else None
    student = Student(task, config, about["seed"], about.get("compression"), dictionary)
    assign_arrays(student.trunk.weights, load_file(folder / WEIGHTS))
    return student


def score_texts(score: Callable, columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Computes logits `[n, n_logits]` float32 of texts, one sequence a field, batch by batch.

    `score` takes `[batch]` string tensors, one a field, and returns logits, as `Student.model` does.
    """
    function, batch = tf.function(score, reduce_retracing=True), 1024
    parts = [
        function([tf.constant(column[start : start + batch], tf.string) for column in columns]).numpy()
        for start in range(0, len(columns[0]), batch)
    ]
    return np.concatenate(parts)


def named_arrays(weights: list[tf.Variable]) -> dict[str, np.ndarray]:
    """Returns weights as arrays under names that are unique and in order."""
    return {f"{i:03d}.{weight.name}": np.asarray(weight.numpy()) for i, weight in enumerate(weights)}


def assign_arrays(weights: list[tf.Variable], arrays: dict[str, np.ndarray]) -> None:
    """Gives weights the values that `named_arrays` took."""
    for weight, name in zip(weights, sorted(arrays), strict=True):
        weight.assign(arrays[name])
