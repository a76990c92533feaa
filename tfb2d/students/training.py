"""Student training: a loop that can be killed at any step and continues to the same weights."""

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import tensorflow as tf
import tf_keras
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from tfb2d.atomic import atomic_path, write_json
from tfb2d.config import TrainingConfig
from tfb2d.errors import DataError
from tfb2d.evaluation.headline import Headline
from tfb2d.processor import multiplies_bfloat16
from tfb2d.resume import CHECKPOINTS
from tfb2d.students.margin import paired_batches, query_keys
from tfb2d.students.model import Student, assign_arrays
from tfb2d.students.rows import TrainingRows
from tfb2d.students.steps import bfloat16_products, logits_function, soft_cross_entropy
from tfb2d.students.strategy import training_steps

T = TypeVar("T")
PREFETCHED = 4  # batches that are made while the student computes


@dataclass
class _Position:
    """Says how far a run has come."""

    epoch: int = 0  # epochs finished
    step: int = 0  # steps done in the current epoch
    loss: float = 0.0  # summed over these steps
    seconds: float = 0.0  # that the current epoch has taken
    best: list[float] | None = None  # orders the best evaluation: `Headline.order`, or the validation loss negated
    since_best: int = 0  # epochs since then


class Trainer:
    """Trains a student on hashed rows.

    Tables learn by row-wise Adagrad from sparse gradients, all else by Adam; both rates warm up and then follow a cosine
    to 0. Everything random depends on the seed, the epoch and the step alone. A checkpoint holds weights, optimizers and
    position in one file. So a run that was killed ends with the same weights as one that was not.

    With `config.strategy` several processes or devices train. Each process runs this loop; all read the checkpoint, and the
    chief alone writes. A checkpoint is the same whatever wrote it.

    Args:
      student: trained in place.
      rows: to learn from.
      valid: to watch; its targets are labels.
      out: gets `history.json`, `tensorboard/` and, in `checkpoints/`, what a stopped run continues from; `bring_up` deletes
        that folder once the work is whole.
      headline: measured on the rows of `valid` after each epoch; with `config.patience` the weights that are best by it are
        kept. None keeps those with the lowest validation loss.
    """

    def __init__(
        self,
        student: Student,
        rows: TrainingRows,
        valid: TrainingRows,
        config: TrainingConfig,
        out: Path,
        headline: Headline | None = None,
    ) -> None:
        self.student, self.rows, self.valid, self.config, self.out = student, rows, valid, config, out
        self.headline = headline
        self.checkpoint = out / CHECKPOINTS / "state.safetensors"
        self.best_weights = out / CHECKPOINTS / "best.safetensors"
        self.steps_per_epoch = -(-rows.n // config.batch_size)
        steps = self.steps_per_epoch * config.epochs

        def schedule(rate: float) -> tf_keras.optimizers.schedules.LearningRateSchedule:
            warmup = max(1, int(config.warmup * steps))
            return tf_keras.optimizers.schedules.CosineDecay(
                0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
            )

        self.steps = training_steps(student, rows, config, schedule)
        self._train_step, self._logits = self.steps.step, self.steps.logits
        self._keys = query_keys(rows) if config.margin_weight else None
        self.position = _Position()
        self.history: list[dict[str, float]] = []

    def fit(self, progress: bool = True) -> list[dict[str, float]]:
        """Trains, continuing from the last checkpoint; returns figures for each epoch. The student holds the weights."""
        self._restore()
        chief, config = self.steps.is_chief, self.config
        writer = (
            tf.summary.create_file_writer(str(self.out / "tensorboard")) if chief else tf.summary.create_noop_writer()
        )
        total = self.steps_per_epoch * config.epochs
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        with (
            tqdm(total=total, initial=done, desc="student", unit="batch", disable=not (progress and chief)) as bar,
            writer.as_default(),
            bfloat16_products(config.mixed_precision and multiplies_bfloat16()),
        ):
            while (position := self.position).epoch < config.epochs and not self._out_of_patience:
                started = last_saved = time.monotonic()
                seconds = position.seconds
                indices = self._batches((config.seed, position.epoch), position.step)
                for batch in ahead(self.steps.batch(self.rows, index) for index in indices):
                    position.loss += float(self._train_step(*batch))
                    position.step += 1
                    bar.update()
                    now = time.monotonic()
                    position.seconds = seconds + now - started
                    if now - last_saved > config.checkpoint_seconds:
                        self._save()
                        last_saved = now
                figures = self._end_epoch()
                bar.set_postfix({name: f"{value:.4f}" for name, value in figures.items() if "loss" in name})
                for name, value in figures.items():
                    tf.summary.scalar(name, value, step=int(figures["epoch"]))
        if self.student is not self.steps.student:
            assign_arrays(self.student.trunk.weights, self.steps.weights())
            self._logits = logits_function(self.student, self.steps.hashes)
        if config.patience and self.best_weights.exists():
            assign_arrays(self.student.trunk.weights, load_file(self.best_weights))
        return self.history

    def _batches(self, seed: tuple[int, int], skip: int) -> Iterator[np.ndarray]:
        """Returns the row numbers of an epoch's batches; with a margin loss, neighbours are of one query."""
        if self._keys is None:
            return self.rows.batches(self.config.batch_size, seed, skip)
        return paired_batches(self._keys, self.config.batch_size, seed, skip)

    @property
    def _out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.position.since_best

    def logits(self, rows: TrainingRows) -> np.ndarray:
        """Returns logits `[n, k]` float32 of hashed rows, in order."""
        parts = [self._logits(rows.batch(index)[0]).numpy() for index in rows.batches(self.config.batch_size)]
        return np.concatenate(parts)

    def _end_epoch(self) -> dict[str, float]:
        position = self.position
        finite = self.steps.finite()
        if not (finite and math.isfinite(position.loss)):
            what = f"the loss is {position.loss}" if finite else "there are weights that are no numbers"
            raise FloatingPointError(
                f"{what} in epoch {position.epoch + 1}; lower training.learning_rate or training.table_learning_rate"
            )
        figures = {"epoch": position.epoch + 1, "loss": position.loss / position.step}
        if self.steps.is_chief:
            figures |= self._evaluate()
            self.history.append(figures)
        # The chief says when patience ends: another processor may round the measure otherwise.
        position.since_best = int(*self.steps.chiefs([position.since_best]))
        self.position = dataclasses.replace(position, epoch=position.epoch + 1, step=0, loss=0.0, seconds=0.0)
        self._save()
        if self.steps.is_chief:
            write_json(self.out / "history.json", self.history)
        return figures

    def _evaluate(self) -> dict[str, float]:
        """Measures the student on the validation rows, and keeps the best weights."""
        position = self.position
        logits = self.logits(self.valid)
        valid_loss = float(soft_cross_entropy(tf.constant(self.valid.targets), tf.constant(logits)))
        figures = {
            "valid_loss": valid_loss,
            "valid_accuracy": _accuracy(self.valid.targets, logits),
            "seconds": position.seconds,
        }
        order = [-valid_loss]
        if self.headline is not None:
            figures |= self.headline.figures(logits)
            order = list(self.headline.order(figures))
        if position.best is None or order > position.best:
            position.best, position.since_best = order, 0
            if self.config.patience:
                with atomic_path(self.best_weights) as path:
                    save_file(self.steps.weights(), path)
        else:
            position.since_best += 1
        return figures

    def _save(self) -> None:
        if not self.steps.is_chief:
            return
        metadata = {"position": json.dumps(dataclasses.asdict(self.position)), "history": json.dumps(self.history)}
        with atomic_path(self.checkpoint) as path:
            save_file(self.steps.state(), path, metadata)

    def _restore(self) -> None:
        if self.checkpoint.exists():
            with safe_open(self.checkpoint, "numpy") as file:
                metadata = file.metadata()
            self.position = _Position(**json.loads(metadata["position"]))
            self.history = json.loads(metadata["history"])
            self.steps.set_state(load_file(self.checkpoint))
        mine = [float(number) for number in (self.position.epoch, self.position.step, self.rows.n)]
        if self.steps.chiefs(mine) != mine:
            raise DataError(f"{self.out}: another checkpoint or other rows than the chief's; start all members again")


def _accuracy(targets: np.ndarray, logits: np.ndarray) -> float:
    if targets.shape[1] == 1:
        return float(np.mean((logits > 0) == (targets >= 0.5)))
    return float(np.mean(logits.argmax(1) == targets.argmax(1)))


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields the same items, made by a thread while the caller computes.

    Not `tf.data`: its generator costs 12% more processor time a step of 512 short rows, and 0.06 s an epoch.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(PREFETCHED))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield cast(T, item)
