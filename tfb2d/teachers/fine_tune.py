"""Fine-tunes a pre-trained encoder on labelled rows: this makes a teacher."""

import dataclasses
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfb2d.atomic import write_json
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.data import resources
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.outcomes import TeacherOutcome
from tfb2d.resume import CHECKPOINTS
from tfb2d.teachers.card import write_card
from tfb2d.teachers.checkpoints import Checkpoints
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.packing import Packed, shuffled_batches
from tfb2d.teachers.saved import FILE, MODEL, read_about
from tfb2d.teachers.steps import training_step
from tfb2d.teachers.teacher import Teacher
from tfb2d.teachers.tuning import optimizer_for


def fine_tune(
    config: TeacherConfig, data: Path, task: Task, out: Path, progress: bool = True, adapted: Path | None = None
) -> TeacherOutcome:
    """Fine-tunes an encoder on `data/train`, keeps the weights with the lowest loss on `data/valid`, saves the teacher.

    A run that was killed goes on from its newest checkpoint and ends with the same weights as any other, on a CPU to the
    last bit. The caller makes sure that `out` is of the same settings and rows (`resume.bring_up`). If `config.preset` is
    a saved teacher, that is copied as it is.

    Args:
      config: the teacher's settings.
      data: folder with the tables `train` and `valid` (text fields and `label`); without rows in `valid` the last
        weights are kept.
      task: what is learnt.
      out: the saved teacher's folder; it also gets a model card and TensorBoard scalars.
      progress: whether to show a progress bar.
      adapted: folder in which `adapt` adapted the encoder; None starts from the preset itself.

    Returns:
      The outcome. An entry of `history` has "step", "epoch", "train_loss" and the figures of `measure`.

    Raises:
      ConfigError: the preset cannot be used, or is a saved teacher of another task.
      DataError: a row has no label, or there are no training rows.
      FloatingPointError: the loss is NaN or infinite.
    """
    saved = Path(resources.resolve(config.preset)).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    if (saved / FILE).exists():
        return _take_over(saved, task, out)
    return _Training(config, data, task, out, adapted).run(progress)


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


class _Training:
    """One fine-tuning run, from its first step or its last checkpoint to the saved teacher."""

    def __init__(self, config: TeacherConfig, data: Path, task: Task, out: Path, adapted: Path | None) -> None:
        keras.utils.set_random_seed(config.seed)  # the head's first weights, and dropout
        self.config = config
        self.out = out
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
        self.checkpoints = Checkpoints(out / CHECKPOINTS, self.teacher.model, self.optimizer)

    def run(self, progress: bool) -> TeacherOutcome:
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
            self._measure(state, epoch)

    def _measure(self, state: _State, epoch: float) -> None:
        figures = measure(self.teacher.task, self.teacher.logits_of(self.valid), self.valid_labels)
        for name, value in figures.items():
            tf.summary.scalar(name.replace("_", "/", 1), value, state.step)
        train_loss = state.train_loss / state.train_rows
        evaluation = {"step": state.step, "epoch": round(epoch, 3), "train_loss": train_loss, **figures}
        state.history.append(evaluation)
        state.train_loss, state.train_rows = 0.0, 0
        state.worse += 1
        if state.best is None or figures["valid_loss"] < state.best["valid_loss"]:
            state.best = evaluation
            state.best_file = self.checkpoints.save_best(state.step)
            state.worse = 0

    def _save(self, state: _State) -> TeacherOutcome:
        outcome = TeacherOutcome(
            steps=state.step,
            rows=len(self.rows),
            valid_rows=len(self.valid),
            seconds=round(state.seconds, 1),
            best=state.best,
            history=tuple(state.history),
        )
        settings = dataclasses.asdict(self.config)
        write_card(self.out / "README.md", self.teacher.task, settings, outcome.to_json())
        about = {"preset": self.config.preset, "settings": settings, "outcome": outcome.to_json()}
        self.teacher.save(self.out, about)
        return outcome


def measure(task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measures logits [n, k] against labels [n, 1].

    Returns:
      `valid_loss`, the mean cross-entropy in nats, and `valid_accuracy`; a graded task has `valid_error` instead, the mean
      absolute error.
    """
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


def _take_over(saved: Path, task: Task, out: Path) -> TeacherOutcome:
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
    write_json(out / FILE, {**about, "task": task.to_json()})
    return TeacherOutcome.from_json(about["outcome"])


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
