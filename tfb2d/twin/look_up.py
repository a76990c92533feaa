"""Trains a look-up query tower against a transformer twin's title vectors, which are computed once.

The tower learns the transformer's query vectors and the teachers' scores. Titles are texts that queries may be made of, so
their vectors by the transformer's query tower are learnt as well: they teach words that no training query has. Rows of
single words start as the transformer's vectors of these words.

References: LightRetriever (Ma et al. 2025, arXiv 2505.12260); LEAF (Vujanic and Rueckstiess 2025, arXiv 2509.12539).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from tfb2d.atomic import atomic_path
from tfb2d.config.twin import TwinConfig
from tfb2d.students import text
from tfb2d.twin.layers import TABLE
from tfb2d.twin.model import Twin, with_look_up_queries
from tfb2d.twin.pairs import Pairs
from tfb2d.twin.texts import CHUNK
from tfb2d.twin.towers import signature_of
from tfb2d.twin.training import PairTraining, Validation, margin_loss, soft_cross_entropy, vector_loss

VECTORS = "vectors.safetensors"  # the transformer's, in the training's folder until the tower is trained

SMALL = 0.1  # what n-grams of several words start with, as a share of a fresh table's values


class LookUpTraining(PairTraining):
    """A look-up query tower's training, see the module and `PairTraining`.

    The title tower and the crossing layer of a trained transformer twin become the new twin's.
    """

    title = "look-up queries"

    def __init__(self, transformer: Twin, pairs: Pairs, valid: Validation, config: TwinConfig, out: Path) -> None:
        twin = with_look_up_queries(config, transformer)
        super().__init__(twin, pairs, valid, config, config.look_up_epochs, out)
        words = _words([*pairs.queries, *pairs.titles], config.max_tokens)
        self.vectors = _vectors(transformer, pairs, valid, words, out / VECTORS)
        _start_from_words(twin, words, self.vectors["words"])
        self.queries = twin.query_tower.pack([*pairs.queries, *pairs.titles])
        self.expected = np.concatenate([self.vectors["queries"], self.vectors["titles_as_queries"]])
        self.valid_queries = twin.query_tower.pack(valid.pairs.queries)
        self.learn([twin.query_tower.model, twin.crossing], pretrained=False)
        self._step = self._traced()

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Returns the pairs of each step; titles that are read as queries are shared out among the steps."""
        rng = np.random.default_rng([self.config.seed, epoch, 1])
        batches = super().batches(epoch)
        shares = np.array_split(len(self.pairs.queries) + rng.permutation(len(self.pairs.titles)), len(batches))
        self._as_queries = {batch[0]: titles for batch, titles in zip(batches, shares, strict=True)}
        return batches

    def loss_of(self, rows: np.ndarray) -> float:
        """Takes a step."""
        own, query_of = np.unique(self.pairs.query_of[rows], return_inverse=True)
        texts = np.concatenate([own, self._as_queries[rows[0]]])
        titles, expected = self.vectors["titles"][self.pairs.title_of[rows]], self.expected[texts]
        arrays = (query_of.astype(np.int32), titles, expected, self.pairs.targets[rows], self.pairs.teacher[rows])
        return float(self._step(self.queries.batch(texts), *arrays))

    def valid_logits(self) -> np.ndarray:
        """Returns the logits of the validation pairs, `[n, 1]`."""
        queries = self.twin.query_tower.embed_packed(self.valid_queries)
        pairs = self.valid.pairs
        return self.twin.cross(queries[pairs.query_of], self.vectors["valid_titles"][pairs.title_of])

    def tidy(self) -> None:
        """Deletes the transformer's vectors."""
        (self.out / VECTORS).unlink(missing_ok=True)

    def _traced(self) -> Any:
        model, crossing, optimizers = self.twin.query_tower.model, self.twin.crossing, self.optimizers
        settings = self.config
        vectors, floats = tf.TensorSpec([None, settings.dim]), tf.TensorSpec([None])
        specs = [signature_of(model), tf.TensorSpec([None], tf.int32), vectors, vectors, floats, floats]

        @tf.function(input_signature=specs, autograph=False)
        def step(texts: Any, query_of: Any, titles: Any, expected: Any, targets: Any, teacher: Any) -> tf.Tensor:
            with tf.GradientTape() as tape:
                embedded = model(texts, training=True)
                logits = crossing(tf.gather(embedded, query_of), titles)
                loss = soft_cross_entropy(targets, logits) + settings.vector_weight * vector_loss(embedded, expected)
                if settings.margin_weight:
                    loss += settings.margin_weight * margin_loss(logits, teacher, query_of)
            optimizers.apply(tape.gradient(loss, [variable.value for variable in optimizers.variables]))
            return loss

        return step


def _words(texts: Sequence[str], max_tokens: int) -> list[bytes]:
    """Returns the distinct tokens of texts (hash spec 2), most frequent first."""
    strings = [tf.TensorSpec([None], tf.string)]
    cut = tf.function(lambda chunk: text.flat_tokens(chunk, max_tokens)[0], input_signature=strings)
    counts: Counter[bytes] = Counter()
    for at in range(0, len(texts), CHUNK):
        chunk = [row.encode("utf-8", "surrogatepass") for row in texts[at : at + CHUNK]]
        counts.update(cut(tf.constant(chunk)).numpy().tolist())
    return sorted(counts, key=lambda word: (-counts[word], word))


def _vectors(
    transformer: Twin, pairs: Pairs, valid: Validation, words: Sequence[bytes], path: Path
) -> dict[str, np.ndarray]:
    """Embeds all texts with the transformer twin, or reads the vectors that a stopped training wrote."""
    if path.exists():
        return dict(load_file(path))
    query_tower, title_tower = transformer.query_tower, transformer.title_tower
    packed = title_tower.pack(pairs.titles)
    titles = title_tower.embed_packed(packed)
    same = transformer.shared and packed.lengths.max(initial=0) < transformer.config.query_length
    vectors = {
        "queries": query_tower.embed(pairs.queries),
        "titles": titles,
        "titles_as_queries": np.array(titles) if same else query_tower.embed(pairs.titles),
        "words": query_tower.embed([word.decode("utf-8", "replace") for word in words]),
        "valid_titles": title_tower.embed(valid.pairs.titles),
    }
    with atomic_path(path) as temporary:
        save_file(vectors, temporary)
    return vectors


def _start_from_words(twin: Twin, words: Sequence[bytes], vectors: np.ndarray) -> None:
    """Writes vectors of words, most frequent first, into the rows that their hashes read; other rows become small.

    Only where a row is as wide as an embedding.
    """
    settings = twin.config
    if settings.width != settings.dim or 1 not in settings.orders:
        return
    packed = twin.query_tower.pack([word.decode("utf-8", "replace") for word in words])
    single = packed.lengths == 1  # a token that is cut again, if there is any, has no row of its own
    rows = packed.ids[packed.starts[:-1][single], settings.orders.index(1)]
    table = next(variable for variable in twin.query_tower.model.trainable_variables if variable.name == TABLE)
    values = np.array(table.value) * SMALL
    values[rows[::-1]] = vectors[single][::-1]  # the last to be written, the most frequent, stays
    table.assign(values)
