"""Fine-tuning: a pre-trained encoder and judged rows make a teacher."""

import dataclasses
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfb2d.config import ConfigError, TeacherConfig, tuning_settings
from tfb2d.data import resources
from tfb2d.data.errors import DataError
from tfb2d.data.files import fingerprint_files, read_json, write_json
from tfb2d.data.tables import part_files, read_table
from tfb2d.data.task import Task
from tfb2d.teachers.card import write_card
from tfb2d.teachers.checkpoints import Checkpoints
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.packing import Packed, shuffled_batches
from tfb2d.teachers.reading import changed_reading
from tfb2d.teachers.saved import ADAPTED, FILE, MODEL, read_about
from tfb2d.teachers.steps import training_step
from tfb2d.teachers.teacher import Teacher
from tfb2d.teachers.tuning import optimizer_for


def fine_tune(
    config: TeacherConfig, data: Path, task: Task, out: Path, progress: bool = True, adapted: Path | None = None
) -> dict[str, Any]:
    """Fine-tunes an encoder on `data/train`, keeps the weights with the lowest loss on `data/valid`, saves the teacher.

    A run that was killed goes on from its last checkpoint and ends with the same weights as one that was not (on a CPU: to
    the last bit); a finished one with the same settings and data is not repeated. A saved teacher as `config.preset` is
    taken over as it is.

    Args:
      config: the teacher's settings.
      data: folder with the tables `train` and `valid` (text fields and `label`); without rows in `valid` the last
        weights are kept.
      task: what is learnt.
      out: the saved teacher's folder; it also gets a model card and TensorBoard scalars.
      progress: show a progress bar.
      adapted: what `adapt` made of `config.preset`, to start from.

    Returns:
      `{"steps", "rows", "valid_rows", "seconds", "history", "best"}`: `history` has an evaluation a row, `{"step", "epoch",
      "train_loss", "valid_loss", ...}` (see `measure`); `best` is the one whose weights were kept, or None.

    Raises:
      ConfigError: the preset cannot be used, or is a saved teacher of another task.
      DataError: rows without a label, or no training rows.
      FloatingPointError: the loss is no number any more.
    """
    saved = Path(resources.resolve(config.preset)).expanduser()
    base = read_about(saved)["weights"] if (saved / FILE).exists() else ""
    start = read_json(adapted / ADAPTED)["weights"] if adapted and not base else base
    fingerprint = _fingerprint(config, data, task, start)
    if (out / FILE).exists() and read_about(out)["run"] == fingerprint:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)  # killed just before its end
        return dict(read_about(out)["outcome"])
    out.mkdir(parents=True, exist_ok=True)
    if base:
        return _take_over(saved, task, out, fingerprint)
    return _Run(config, data, task, out, fingerprint, adapted).run(progress)


@dataclass
class _State:
    """Where a run is. With the weights and the optimizer's variables it is all that going on takes."""

    step: int = 0
    seconds: float = 0.0
    train_loss: float = 0.0  # summed over the `train_rows` since the last evaluation
    train_rows: int = 0
    worse: int = 0  # evaluations since the best one
    best: dict[str, float] | None = None
    best_file: str = ""
    history: list[dict[str, float]] = field(default_factory=list)


class _Run:
    """One fine-tuning run, from its first step or its last checkpoint to the saved teacher."""

    def __init__(
        self, config: TeacherConfig, data: Path, task: Task, out: Path, fingerprint: str, adapted: Path | None
    ) -> None:
        keras.utils.set_random_seed(config.seed)  # the head's first weights, and dropout
        self.config = config
        self.out = out
        self.fingerprint = fingerprint
        # An adapted encoder has lost its layers already.
        start = dataclasses.replace(config, preset=str(adapted / MODEL), layers=0) if adapted else config
        self.teacher = Teacher(build_classifier(start, task.n_logits), task, config.max_length)
        self.rows, self.labels = _read(data / "train", self.teacher)
        self.valid, self.valid_labels = _read(data / "valid", self.teacher)
        if not len(self.rows):
            raise DataError(f"{data / 'train'}: no rows to fine-tune on")
        self.epoch_steps = math.ceil(len(self.rows) / config.batch_size)
        self.steps = config.epochs * self.epoch_steps
        times = config.evaluate_per_epoch if len(self.valid) else 0
        self.evaluate_after = {math.ceil(i * self.epoch_steps / times) for i in range(1, times + 1)}
        self.optimizer = optimizer_for(config.learning_rate, self.steps, config, config.ema)
        self.optimizer.build(self.teacher.model.trainable_variables)
        self.step = training_step(self.teacher.model, self.optimizer, _loss(task))
        self.checkpoints = Checkpoints(out / "checkpoints", self.teacher.model, self.optimizer, fingerprint)

    def run(self, progress: bool) -> dict[str, Any]:
        state = _State(**(self.checkpoints.load() or {}))
        bar = tqdm(total=self.steps, initial=state.step, desc="fine-tuning", unit="step", disable=not progress)
        writer = tf.summary.create_file_writer(str(self.out / "tensorboard"))
        with bar, writer.as_default():
            self._train(state, bar)
        writer.close()
        if state.best_file:
            self.checkpoints.load_best(state.best_file)
        else:
            self._average()
        return self._save(state)

    def _train(self, state: _State, bar: tqdm) -> None:
        started = time.monotonic() - state.seconds
        saved = time.monotonic()
        batches: list[np.ndarray] = []
        while state.step < self.steps and not 0 < self.config.patience <= state.worse:
            epoch, at = divmod(state.step, self.epoch_steps)
            if at == 0 or not batches:
                rng = np.random.default_rng([self.config.seed, epoch])
                batches = shuffled_batches(self.rows.lengths, self.config.batch_size, rng)
            rows = batches[at]
            loss = self.step(self.teacher.packer.pad(self.rows, rows), self.labels[rows])
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {state.step}; lower teachers.*.learning_rate")
            state.step += 1
            state.train_loss += loss * len(rows)
            state.train_rows += len(rows)
            state.seconds = time.monotonic() - started
            tf.summary.scalar("train/loss", loss, state.step)
            bar.set_postfix(loss=f"{state.train_loss / state.train_rows:.4f}", refresh=False)
            bar.update()
            if at + 1 in self.evaluate_after:
                self._evaluate(state, epoch + (at + 1) / self.epoch_steps)
            elif time.monotonic() - saved < self.config.checkpoint_seconds:
                continue
            self.checkpoints.save(dataclasses.asdict(state))
            saved = time.monotonic()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Puts the moving average of the weights, if there is one, in their place for a while."""
        variables = self.teacher.model.trainable_variables if self.config.ema else []
        own = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        self._average()
        yield
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)

    def _average(self) -> None:
        """Puts it there for good."""
        if self.config.ema:
            variables = self.teacher.model.trainable_variables
            self.optimizer.finalize_variable_values(variables)
            for (
                variable
            ) in variables:  # JAX: a copy, since a pass forward may delete what the optimizer would then share
                variable.assign(np.array(keras.ops.convert_to_numpy(variable)))

    def _evaluate(self, state: _State, epoch: float) -> None:
        with self._averaged():
            self._judge(state, epoch)

    def _judge(self, state: _State, epoch: float) -> None:
        found = measure(self.teacher.task, self.teacher.logits_of(self.valid), self.valid_labels)
        for name, value in found.items():
            tf.summary.scalar(name.replace("_", "/", 1), value, state.step)
        train_loss = state.train_loss / state.train_rows
        evaluation = {"step": state.step, "epoch": round(epoch, 3), "train_loss": train_loss, **found}
        state.history.append(evaluation)
        state.train_loss, state.train_rows = 0.0, 0
        state.worse += 1
        if state.best is None or found["valid_loss"] < state.best["valid_loss"]:
            state.best = evaluation
            state.best_file = self.checkpoints.save_best(state.step)
            state.worse = 0

    def _save(self, state: _State) -> dict[str, Any]:
        outcome = {
            "steps": state.step,
            "rows": len(self.rows),
            "valid_rows": len(self.valid),
            "seconds": round(state.seconds, 1),
            "best": state.best,
            "history": state.history,
        }
        settings = dataclasses.asdict(self.config)
        write_card(self.out / "README.md", self.teacher.task, settings, outcome)
        about = {"preset": self.config.preset, "run": self.fingerprint, "settings": settings, "outcome": outcome}
        self.teacher.save(self.out, about)
        shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
        return outcome


def measure(task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean loss of logits [n, k] against labels [n, 1], with the accuracy, or a graded task's mean absolute error."""
    z, y = logits.astype(np.float64), labels[:, 0].astype(np.float64)
    if task.kind == "multiclass":
        z -= z.max(1, keepdims=True)
        losses = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), y.astype(int)]
        return {"valid_loss": float(losses.mean()), "valid_accuracy": float((z.argmax(1) == y).mean())}
    z = z[:, 0]
    loss = float((np.logaddexp(0, z) - y * z).mean())
    if task.kind == "graded":
        return {"valid_loss": loss, "valid_error": float(np.abs(1 / (1 + np.exp(-z)) - y).mean())}
    return {"valid_loss": loss, "valid_accuracy": float(((z > 0) == (y > 0.5)).mean())}


def _take_over(saved: Path, task: Task, out: Path, fingerprint: str) -> dict[str, Any]:
    about = read_about(saved)
    learnt = Task.from_json(about["task"])
    same = (learnt.kind, learnt.classes, len(learnt.fields)) == (task.kind, task.classes, len(task.fields))
    if not same:
        raise ConfigError(
            f"teachers.*.preset: {saved} is a teacher of another task: {learnt}, not {task}. "
            f"To start from its encoder with a fresh head, name {saved / MODEL}"
        )
    (out / FILE).unlink(missing_ok=True)
    shutil.rmtree(out / MODEL, ignore_errors=True)
    shutil.copytree(saved / MODEL, out / MODEL)
    if (saved / "README.md").exists():
        shutil.copy(saved / "README.md", out / "README.md")
    write_json(out / FILE, {**about, "task": task.to_json(), "run": fingerprint})
    return dict(about["outcome"])


def _read(folder: Path, teacher: Teacher) -> tuple[Packed, np.ndarray]:
    table = read_table(folder, [*teacher.task.fields, "label"])
    labels = table["label"].to_numpy().astype(np.float32)
    if not np.isfinite(labels).all():
        raise DataError(f"{folder}: row {int(np.argmin(np.isfinite(labels))) + 1} has no label")
    return teacher.pack([table[name].to_pylist() for name in teacher.task.fields]), labels[:, None]


def _loss(task: Task) -> keras.losses.Loss:
    if task.kind == "multiclass":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.BinaryCrossentropy(from_logits=True)


def _fingerprint(config: TeacherConfig, data: Path, task: Task, base: str) -> str:
    """A hash of all that the outcome depends on: settings, task, rows, and the weights of a saved teacher to start from."""
    settings = tuning_settings(config)
    rows = fingerprint_files([*part_files(data / "train"), *part_files(data / "valid")])
    described = [settings, task.to_json(), rows, base, *changed_reading(config.preset)]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
