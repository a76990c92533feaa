"""Adapts an encoder to the domain: it learns to guess hidden words of transfer text, before fine-tuning.

`masking.py` chooses the hidden words. The head that guesses them is not kept.

Reference: task-adaptive pre-training (Gururangan et al. 2020, arXiv 2004.10964).
"""

import math
import shutil
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pyarrow as pa
import tensorflow as tf

from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.data.tables import count_rows, iter_batches
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.outcomes import AdaptOutcome
from tfb2d.teachers.loop import State, Training
from tfb2d.teachers.masking import IGNORED, Units, special_ids, units
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.optimizer import optimizer_for
from tfb2d.teachers.packing import Packed, shuffled_batches
from tfb2d.teachers.saved import MODEL
from tfb2d.teachers.steps import forward
from tfb2d.teachers.teacher import Teacher, weights_hash

HELD_OUT, MOST_HELD_OUT = 0.02, 1000  # share, and most rows, that only measure progress
EVALUATIONS = 4


def adapt(config: TeacherConfig, data: Path, task: Task, out: Path, progress: bool = True) -> AdaptOutcome:
    """Trains the encoder of `config.preset` on `config.adapt.rows` rows of `data/transfer` to guess hidden words.

    A run that was killed continues from its newest checkpoint, as `fine_tune` does. `out` gets `model/`, an encoder preset
    that `TeacherConfig.preset` takes too, and TensorBoard scalars.

    Returns:
      The outcome. `history` has `valid_loss` and `valid_accuracy` of hidden tokens in rows that are not trained on.

    Raises:
      ConfigError: the preset cannot be used, or has no mask token.
      DataError: there are no transfer rows.
      FloatingPointError: the loss is NaN or infinite.
    """
    out.mkdir(parents=True, exist_ok=True)
    return _Adapting(config, data, task, out).run(progress)


class _Adapting(Training):
    """An adapting run, from its first step or its newest checkpoint to the saved encoder."""

    title = "adapting"
    learning_rate = "teachers.*.adapt.learning_rate"

    def __init__(self, config: TeacherConfig, data: Path, task: Task, out: Path) -> None:
        keras.utils.set_random_seed(config.adapt.seed)
        self.settings = config.adapt
        self.teacher = Teacher(build_classifier(config, 1), task, config.max_length)
        tokenizer = self.teacher.packer.tokenizer
        mask_id = getattr(tokenizer, "mask_token_id", None)
        if mask_id is None:
            raise ConfigError(f"teachers.*.adapt: {config.preset} has no mask token to hide words with")
        self.mask_id = int(mask_id)
        self.plain = np.setdiff1d(np.arange(tokenizer.vocabulary_size()), list(special_ids(tokenizer)))
        packed = self.teacher.pack(_sample(data / "transfer", task, self.settings.rows, self.settings.seed))
        # A word on its own has nothing around it to be guessed from.
        long = np.flatnonzero(packed.lengths > 1 + len(self.teacher.packer.start) + len(self.teacher.packer.end))
        if len(long) < 2:
            raise DataError(f"{data / 'transfer'}: no texts of two words to adapt to")
        held_out = max(1, min(MOST_HELD_OUT, int(HELD_OUT * len(long))))
        self.units = units(packed.take(long[held_out:]), tokenizer, self.settings.masking)
        self.valid = self._hidden(units(packed.take(long[:held_out]), tokenizer, self.settings.masking), -1)
        self.rows = len(self.units.packed)
        super().__init__(out, self.rows, self.settings.epochs, self.settings.batch_size, config.checkpoint_seconds)
        model = _guesser(self.teacher.model.backbone)
        optimizer = optimizer_for(self.settings.learning_rate, self.steps, config)
        self.prepare(model, optimizer, _HiddenLoss(), tf.TensorSpec([None, None], tf.int32))
        self.forward = forward(model)

    def run(self, progress: bool) -> AdaptOutcome:
        return self._save(self.train(progress))

    def batches(self, epoch: int) -> list[np.ndarray]:
        self.train_rows, self.train_labels = self._hidden(self.units, epoch)
        rng = np.random.default_rng([self.settings.seed, epoch, 1])
        return shuffled_batches(self.train_rows.lengths, self.settings.batch_size, rng)

    def loss_of(self, rows: np.ndarray) -> float:
        return self.step(*self._batch(self.train_rows, self.train_labels, rows))

    def is_evaluated(self, step: int) -> bool:
        return step % math.ceil(self.steps / EVALUATIONS) == 0 or step == self.steps

    def _hidden(self, of: Units, epoch: int) -> tuple[Packed, np.ndarray]:
        rng = np.random.default_rng([self.settings.seed, epoch + 1])
        return of.hide(self.settings.rate, self.mask_id, self.plain, rng)

    def _batch(self, packed: Packed, labels: np.ndarray, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns the model's inputs, and the hidden tokens, int32 [rows, positions]; IGNORED fills rows up."""
        inputs = dict(self.teacher.packer.pad(packed, rows))
        hidden = [np.flatnonzero(labels[packed.starts[row] : packed.starts[row + 1]] != IGNORED) for row in rows]
        most = 8 * math.ceil(max(map(len, hidden)) / 8)  # few shapes, since JAX compiles each
        positions = np.zeros((len(rows), most), np.int32)
        tokens = np.full((len(rows), most), IGNORED, np.int32)
        for i, (row, at_tokens) in enumerate(zip(rows, hidden, strict=True)):
            positions[i, : len(at_tokens)] = at_tokens
            tokens[i, : len(at_tokens)] = labels[packed.starts[row] + at_tokens]
        return {**inputs, "mask_positions": positions}, tokens

    def figures(self) -> dict[str, float]:
        packed, labels = self.valid
        loss = right = hidden = 0.0
        for rows in np.array_split(np.argsort(packed.lengths, kind="stable"), math.ceil(len(packed) / 64)):
            inputs, tokens = self._batch(packed, labels, rows)
            logits = self.forward(inputs).astype(np.float64)
            known = tokens != IGNORED
            logits, tokens = logits[known], tokens[known]
            peak = logits.max(1)
            total = np.log(np.exp(logits - peak[:, None]).sum(1)) + peak
            loss += float((total - logits[np.arange(len(tokens)), tokens]).sum())
            right += float((logits.argmax(1) == tokens).sum())
            hidden += len(tokens)
        return {"valid_loss": loss / hidden, "valid_accuracy": right / hidden}

    def _save(self, state: State) -> AdaptOutcome:
        fresh = self.out / f".{MODEL}.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        backbone = self.teacher.model.backbone
        backbone.save_to_preset(str(fresh))
        self.teacher.preprocessor.save_to_preset(str(fresh))
        shutil.rmtree(self.out / MODEL, ignore_errors=True)
        fresh.rename(self.out / MODEL)
        return AdaptOutcome(
            steps=state.step,
            rows=self.rows,
            seconds=round(state.seconds, 1),
            weights=weights_hash(backbone),
            history=tuple(state.history),
        )


def _sample(table: Path, task: Task, rows: int, seed: int) -> list[list[str]]:
    """Draws at most `rows` rows of a table, in random order; returns a list of texts per field."""
    total = count_rows(table)
    if not total:
        raise DataError(f"{table}: no rows to adapt to")
    chosen = np.random.default_rng([seed, 0, 2]).permutation(total)[:rows]
    chosen_rows = np.zeros(total, bool)
    chosen_rows[chosen] = True
    batches, at = [], 0
    for batch in iter_batches(table, task.fields):
        batches.append(batch.filter(pa.array(chosen_rows[at : at + batch.num_rows])))
        at += batch.num_rows
    texts = pa.Table.from_batches(batches).take(pa.array(np.argsort(np.argsort(chosen))))
    return [texts[name].to_pylist() for name in task.fields]


def _guesser(backbone: keras_hub.models.Backbone) -> keras.Model:
    """Adds a head to the encoder that guesses the tokens at `mask_positions`; its last layer is the token embedding."""
    outputs = backbone.output
    states = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    positions = keras.Input((None,), dtype="int32", name="mask_positions")
    head = keras_hub.layers.MaskedLMHead(
        token_embedding=backbone.token_embedding,
        intermediate_activation=lambda x: keras.activations.gelu(x, approximate=False),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        layer_norm_epsilon=1e-12,
        dtype=backbone.dtype_policy,
        name="guess",
    )
    logits = keras.layers.Activation("linear", dtype="float32")(head(states, mask_positions=positions))
    inputs = {**backbone.input, "mask_positions": positions}
    return keras.Model(inputs, logits)


class _HiddenLoss(keras.losses.Loss):
    """Mean cross-entropy of the hidden tokens."""

    def __init__(self) -> None:
        super().__init__(reduction=None, dtype="float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Takes labels int32 [rows, positions], IGNORED where nothing is hidden, and logits [rows, positions, tokens]."""
        hidden = keras.ops.cast(keras.ops.not_equal(y_true, IGNORED), "float32")
        losses = keras.ops.sparse_categorical_crossentropy(
            keras.ops.maximum(y_true, 0), keras.ops.cast(y_pred, "float32"), from_logits=True
        )
        return keras.ops.sum(losses * hidden) / keras.ops.maximum(keras.ops.sum(hidden), 1.0)
