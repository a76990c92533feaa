"""Trains a twin on pairs, towers and crossing together; a killed run continues to the same weights.

A twin learns the teachers' probabilities, and the differences between titles of one query.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfb2d.config.twin import SCRATCH, TwinConfig
from tfb2d.evaluation.headline import Headline
from tfb2d.resume import CHECKPOINTS
from tfb2d.teachers.loop import Checkpoints, State, Training
from tfb2d.twin.model import Twin
from tfb2d.twin.optimizers import Optimizers
from tfb2d.twin.pairs import Pairs, query_batches
from tfb2d.twin.texts import PackedTexts
from tfb2d.twin.towers import signature_of

PARTS = 4  # in which a batch's titles, sorted by length, are embedded, each padded to its own longest
FEWEST = 32  # titles that are worth cutting up


def soft_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of target probabilities `[n]` and logits `[n]`.

    It is linear in the targets, so a share of hard labels is mixed into them beforehand (`tfb2d.distill.targets`).
    """
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def margin_loss(logits: tf.Tensor, teacher: tf.Tensor, query_of: tf.Tensor) -> tf.Tensor:
    """Returns the mean squared difference between the twin's and the teachers' margins, each `[n]` logits.

    A margin is the difference of two titles' logits. Every two rows of the same query, of `query_of` `[n]`, whose
    teacher logits are known (not NaN) count; without such rows the loss is 0.

    Reference: Hofstaetter et al. 2020, "Margin-MSE" (arXiv 2010.02666).
    """
    known = tf.math.is_finite(teacher)
    # The difference of two margins is that of the two rows' gaps.
    gap = tf.where(known, logits - tf.where(known, teacher, 0.0), 0.0)
    both = tf.equal(query_of[:, None], query_of[None]) & known[:, None] & known[None]
    both = tf.cast(tf.linalg.set_diag(both, tf.zeros_like(known)), tf.float32)
    squares = tf.square(gap[:, None] - gap[None])
    return tf.reduce_sum(squares * both) / tf.maximum(tf.reduce_sum(both), 1.0)


def vector_loss(vectors: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Returns the mean cosine distance of vectors `[n, dim]` of length 1 from those that they should be.

    Reference: LEAF (Vujanic and Rueckstiess 2025, arXiv 2509.12539) learns a teacher's vectors in this way.
    """
    return tf.reduce_mean(1.0 - tf.reduce_sum(vectors * expected, 1))


class Validation:
    """Labelled pairs that a training is watched on, by the run's headline measure of them."""

    def __init__(self, pairs: Pairs, headline: Headline) -> None:
        self.pairs, self.headline = pairs, headline

    def figures(self, logits: np.ndarray) -> dict[str, float]:
        """Returns `valid_loss`, the cross-entropy of the labels in nats, and the headline measure, of logits `[n, 1]`."""
        if not len(self.pairs):
            return {}
        z, labels = logits[:, 0].astype(np.float64), self.pairs.labels.astype(np.float64)
        return {"valid_loss": float((np.logaddexp(0, z) - labels * z).mean())} | self.headline.figures(logits)


class Batch(NamedTuple):
    """A training step's pairs, with each distinct text once; the arguments of the step."""

    queries: dict[str, tf.Tensor]  # the query tower's inputs
    titles: tuple[dict[str, tf.Tensor], ...]  # the title tower's, in parts of similar length
    # query_of, title_of: int32 `[n]`, each pair's text among them
    query_of: np.ndarray
    title_of: np.ndarray
    # targets, teacher: float32 `[n]`, see `Pairs`
    targets: np.ndarray
    teacher: np.ndarray


def make_batch(pairs: Pairs, queries: PackedTexts, titles: PackedTexts, rows: np.ndarray) -> Batch:
    """Returns the pairs with these indices as a batch."""
    query_texts, query_of = np.unique(pairs.query_of[rows], return_inverse=True)
    title_texts, title_of = np.unique(pairs.title_of[rows], return_inverse=True)
    by_length = np.argsort(titles.lengths[title_texts], kind="stable")
    rank = np.empty_like(by_length)
    rank[by_length] = np.arange(len(by_length))
    parts = np.array_split(title_texts[by_length], PARTS if len(title_texts) >= FEWEST else 1)
    return Batch(
        queries.batch(query_texts),
        tuple(titles.batch(part) for part in parts),
        query_of.astype(np.int32),
        rank[title_of].astype(np.int32),
        pairs.targets[rows],
        pairs.teacher[rows],
    )


class PairTraining(Training):
    """Does what the training of towers and of a look-up query tower have in common; the twin is trained in place."""

    title = "twin"
    learning_rate = "twin.learning_rate, twin.head_learning_rate or twin.table_learning_rate"

    def __init__(self, twin: Twin, pairs: Pairs, valid: Validation, config: TwinConfig, epochs: int, out: Path) -> None:
        super().__init__(out, len(pairs), epochs, config.batch_size, config.checkpoint_seconds)
        self.twin, self.pairs, self.valid, self.config = twin, pairs, valid, config

    def learn(self, models: Sequence[Any], pretrained: bool) -> None:
        """Makes the optimizers and the checkpoints of these models or layers; see `Optimizers`."""
        trainable = [variable for model in models for variable in model.trainable_variables]
        self.optimizers = Optimizers(trainable, self.config, self.steps, pretrained)
        state = [variable for model in models for variable in model.variables]  # dropout's counters are among them
        self.checkpoints = Checkpoints(self.out / CHECKPOINTS, state, self.optimizers.state)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Returns the pairs of each step."""
        rng = np.random.default_rng([self.config.seed, epoch])
        ring = self.config.in_batch_negatives > 0
        return query_batches(self.pairs.query_of, self.config.batch_size, rng, ring)

    def is_evaluated(self, step: int) -> bool:
        """Says whether an epoch ends here."""
        return step > 0 and step % self.epoch_steps == 0

    @abstractmethod
    def valid_logits(self) -> np.ndarray:
        """Returns the logits of the validation pairs, `[n, 1]`."""

    def tidy(self) -> None:
        """Deletes what only training needed; by default nothing."""

    def figures(self) -> dict[str, float]:
        """Measures the twin on the validation pairs."""
        return self.valid.figures(self.valid_logits())

    def keep(self, state: State, evaluation: dict[str, float]) -> None:
        """Stops a training whose weights are no numbers any more; the last weights are the outcome."""
        if not all(math.isfinite(value) for value in evaluation.values()):
            lower = f"lower {self.learning_rate}"
            raise FloatingPointError(f"the twin's logits are no numbers at step {state.step}; {lower}")


class TwinTraining(PairTraining):
    """A twin's training, towers and crossing together; see `PairTraining`."""

    def __init__(self, twin: Twin, pairs: Pairs, valid: Validation, config: TwinConfig, out: Path) -> None:
        super().__init__(twin, pairs, valid, config, config.epochs, out)
        self.queries, self.titles = twin.query_tower.pack(pairs.queries), twin.title_tower.pack(pairs.titles)
        self.valid_queries = twin.query_tower.pack(valid.pairs.queries)
        self.valid_titles = twin.title_tower.pack(valid.pairs.titles)
        self.learn([*(tower.model for tower in twin.towers), twin.crossing], config.preset != SCRATCH)
        self._steps: dict[int, Any] = {}

    def loss_of(self, rows: np.ndarray) -> float:
        """Takes a step."""
        batch = make_batch(self.pairs, self.queries, self.titles, rows)
        parts = len(batch.titles)
        if parts not in self._steps:
            self._steps[parts] = self._step(parts)
        return float(self._steps[parts](*batch))

    def valid_logits(self) -> np.ndarray:
        """Returns the logits of the validation pairs, `[n, 1]`."""
        queries = self.twin.query_tower.embed_packed(self.valid_queries)
        titles = self.twin.title_tower.embed_packed(self.valid_titles)
        return self.twin.cross(queries[self.valid.pairs.query_of], titles[self.valid.pairs.title_of])

    def _step(self, parts: int) -> Any:
        """Traces a step for batches whose titles come in `parts` parts."""
        query_model, title_model = self.twin.query_tower.model, self.twin.title_tower.model
        crossing, optimizers, weight = self.twin.crossing, self.optimizers, self.config.margin_weight
        of, floats = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)
        specs = [signature_of(query_model), (signature_of(title_model),) * parts, of, of, floats, floats]

        @tf.function(input_signature=specs, autograph=False)
        def step(queries: Any, titles: Any, query_of: Any, title_of: Any, targets: Any, teacher: Any) -> tf.Tensor:
            with tf.GradientTape() as tape:
                query_vectors = query_model(queries, training=True)
                title_vectors = tf.concat([title_model(part, training=True) for part in titles], 0)
                logits = crossing(tf.gather(query_vectors, query_of), tf.gather(title_vectors, title_of))
                loss = soft_cross_entropy(targets, logits)
                if weight:
                    loss += weight * margin_loss(logits, teacher, query_of)
            optimizers.apply(tape.gradient(loss, [variable.value for variable in optimizers.variables]))
            return loss

        return step
