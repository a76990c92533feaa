"""Fine-tunes a pre-trained encoder on labelled rows: this makes a teacher."""

import dataclasses
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit

from tfb2d.atomic import write_json
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.data import resources
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.evaluation.headline import headline_on
from tfb2d.outcomes import TeacherOutcome
from tfb2d.teachers.card import write_card
from tfb2d.teachers.loop import State, Training
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.optimizer import optimizer_for
from tfb2d.teachers.packing import Packed, shuffled_batches
from tfb2d.teachers.saved import FILE, MODEL, read_about
from tfb2d.teachers.teacher import Teacher


def fine_tune(
    config: TeacherConfig,
    data: Path,
    task: Task,
    out: Path,
    progress: bool = True,
    adapted: Path | None = None,
    headline: str = "",
) -> TeacherOutcome:
    """Fine-tunes an encoder on `data/train`, keeps the weights that are best on `data/valid`, saves the teacher.

    A run that was killed continues from its newest checkpoint. On a CPU it ends with the weights of a run that was not, to
    the last bit. The caller makes sure that `out` is of the same settings and rows (`resume.bring_up`). If
    `config.preset` is a saved teacher, that is copied as it is.

    Args:
      data: folder with the tables `train` and `valid` (text fields and `label`); without rows in `valid` the last
        weights are kept.
      out: the saved teacher's folder; it also gets a model card and TensorBoard scalars.
      adapted: folder in which `adapt` adapted the encoder; None starts from the preset itself.
      headline: the measure that says which weights are best (`report.headline`); "" takes the task's own. Of equal figures
        the one with the lower loss is better.

    Returns:
      The outcome. An entry of `history` has "step", "epoch", "train_loss", the figures of `measure` and the headline.

    Raises:
      ConfigError: the preset cannot be used, or is a saved teacher of another task.
      DataError: a row has no label, or there are no training rows.
      FloatingPointError: the loss is NaN or infinite.
    """
    saved = Path(resources.resolve(config.preset)).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    if (saved / FILE).exists():
        return _take_over(saved, task, out)
    return _FineTuning(config, data, task, out, adapted, headline).run(progress)


class _FineTuning(Training):
    """A fine-tuning run, from its first step or its newest checkpoint to the saved teacher."""

    title = "fine-tuning"
    learning_rate = "teachers.*.learning_rate"

    def __init__(
        self, config: TeacherConfig, data: Path, task: Task, out: Path, adapted: Path | None, headline: str
    ) -> None:
        keras.utils.set_random_seed(config.seed)  # the head's first weights, and dropout
        self.config = config
        # An adapted encoder has lost its upper layers already.
        start = dataclasses.replace(config, preset=str(adapted / MODEL), layers=0) if adapted else config
        self.teacher = Teacher(build_classifier(start, task.n_logits), task, config.max_length)
        self.rows, self.labels = _read(data / "train", self.teacher)
        self.valid, self.valid_labels = _read(data / "valid", self.teacher)
        self.headline = headline_on(task, read_table(data / "valid"), headline)
        if not len(self.rows):
            raise DataError(f"{data / 'train'}: no rows to fine-tune on")
        super().__init__(out, len(self.rows), config.epochs, config.batch_size, config.checkpoint_seconds)
        times = config.evaluate_per_epoch if len(self.valid) else 0
        self.evaluate_after = {math.ceil(i * self.epoch_steps / times) for i in range(1, times + 1)}
        self.optimizer = optimizer_for(config.learning_rate, self.steps, config, config.ema)
        self.prepare(self.teacher.model, self.optimizer, _loss(task))

    def run(self, progress: bool) -> TeacherOutcome:
        state = self.train(progress)
        if state.best_file:
            self.checkpoints.load_best(state.best_file)
        else:
            self._average()
        return self._save(state)

    def batches(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.config.seed, epoch])
        return shuffled_batches(self.rows.lengths, self.config.batch_size, rng)

    def loss_of(self, rows: np.ndarray) -> float:
        return self.step(self.teacher.packer.pad(self.rows, rows), self.labels[rows])

    def is_evaluated(self, step: int) -> bool:
        return step > 0 and (step - 1) % self.epoch_steps + 1 in self.evaluate_after

    def is_over(self, state: State) -> bool:
        return 0 < self.config.patience <= state.worse

    def figures(self) -> dict[str, float]:
        with self._averaged():
            logits = self.teacher.logits_of(self.valid)
        return measure(self.teacher.task, logits, self.valid_labels) | self.headline.figures(logits)

    def keep(self, state: State, evaluation: dict[str, float]) -> None:
        state.worse += 1
        if state.best is None or self.headline.order(evaluation) > self.headline.order(state.best):
            with self._averaged():
                state.best_file = self.checkpoints.save_best(state.step)
            state.best, state.worse = evaluation, 0

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Replaces the weights by their moving average, if there is one, inside of a `with` block."""
        variables = self.teacher.model.trainable_variables if self.config.ema else []
        own = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        self._average()
        yield
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)

    def _average(self) -> None:
        """Replaces the weights by their moving average, if there is one."""
        if self.config.ema:
            variables = self.teacher.model.trainable_variables
            self.optimizer.finalize_variable_values(variables)
            for variable in variables:  # a copy: with JAX a forward pass may delete what the optimizer would then share
                variable.assign(np.array(keras.ops.convert_to_numpy(variable)))

    def _save(self, state: State) -> TeacherOutcome:
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
    """Measures logits [n, k] against labels [n, 1]: `valid_loss`, in nats, and `valid_accuracy`.

    A graded task has `valid_error` instead of the accuracy, the mean absolute error.
    """
    z, y = logits.astype(np.float64), labels[:, 0].astype(np.float64)
    if task.kind == "multiclass":
        z -= z.max(1, keepdims=True)
        losses = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), y.astype(int)]
        return {"valid_loss": float(losses.mean()), "valid_accuracy": float((z.argmax(1) == y).mean())}
    z = z[:, 0]
    loss = float((np.logaddexp(0, z) - y * z).mean())
    if task.kind == "graded":
        return {"valid_loss": loss, "valid_error": float(np.abs(expit(z) - y).mean())}
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
