"""The training loop of teachers and twins: batches, checkpoints, evaluations, progress.

A killed run continues from its newest checkpoint as if it had not been. Nothing is pickled.
"""

import dataclasses
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from tfb2d.atomic import atomic_path
from tfb2d.resume import CHECKPOINTS
from tfb2d.teachers.steps import training_step

STATE = "state.safetensors"


@dataclass
class State:
    """Says where a training is. It continues from this, the weights and the optimizer's variables."""

    step: int = 0  # steps so far
    seconds: float = 0.0  # of training so far, before kills too
    train_loss: float = 0.0  # summed over the rows since the last evaluation
    train_rows: int = 0  # how many these are
    worse: int = 0  # evaluations since the best one
    best: dict[str, float] | None = None  # the best evaluation; None if none is kept
    best_file: str = ""  # the checkpoint of its weights
    history: list[dict[str, float]] = field(default_factory=list)  # the evaluations so far


class Training(ABC):
    """A training run of `epochs` over `rows`, with checkpoints in `out`, that continues from its newest checkpoint.

    A subclass calls `prepare` once it has a model, or sets `checkpoints` itself, and `train` to run. There is a
    checkpoint every `checkpoint_seconds`, and one after each evaluation.
    """

    title: ClassVar[str]  # of the progress bar
    learning_rate: ClassVar[str]  # name of the setting to lower if the loss is NaN or infinite

    def __init__(self, out: Path, rows: int, epochs: int, batch_size: int, checkpoint_seconds: float) -> None:
        self.out = out
        self.epoch_steps = math.ceil(rows / batch_size)
        self.steps = epochs * self.epoch_steps
        self._checkpoint_seconds = checkpoint_seconds

    def prepare(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        labels_spec: Any = None,
    ) -> None:
        """Builds the optimizer and the training step, for the arguments of `training_step`."""
        optimizer.build(model.trainable_variables)
        self.step = training_step(model, optimizer, loss, labels_spec)
        self.checkpoints = Checkpoints(self.out / CHECKPOINTS, model.variables, optimizer.variables)

    @abstractmethod
    def batches(self, epoch: int) -> list[np.ndarray]:
        """Returns the indices of the rows of each step of an epoch."""

    @abstractmethod
    def loss_of(self, rows: np.ndarray) -> float:
        """Trains on a batch of rows; returns its loss."""

    @abstractmethod
    def is_evaluated(self, step: int) -> bool:
        """Says whether there is an evaluation after this many steps."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Evaluates the model on rows that are not trained on."""

    def keep(self, state: State, evaluation: dict[str, float]) -> None:
        """Decides whether the weights are the best so far, and saves them; by default the last weights are kept."""
        return

    def is_over(self, state: State) -> bool:
        """Says whether training stops before its last step."""
        return False

    def train(self, progress: bool) -> State:
        """Trains to the end, from the newest checkpoint on; raises FloatingPointError where the loss is not finite."""
        saved = self.checkpoints.load() or {}
        # An older version's checkpoint may hold other fields.
        state = State(**{item.name: saved[item.name] for item in dataclasses.fields(State) if item.name in saved})
        bar = tqdm(total=self.steps, initial=state.step, desc=self.title, unit="step", disable=not progress)
        writer = tf.summary.create_file_writer(str(self.out / "tensorboard"))
        with bar, writer.as_default():
            self._run(state, bar)
        writer.close()
        return state

    def evaluate(self, state: State) -> None:
        """Evaluates the model and adds the evaluation to the history."""
        figures = self.figures()
        for name, value in figures.items():
            tf.summary.scalar(name.replace("_", "/", 1), value, state.step)
        evaluation = {"step": state.step, "epoch": round(state.step / self.epoch_steps, 3), **figures}
        if state.train_rows:
            evaluation["train_loss"] = state.train_loss / state.train_rows
        state.history.append(evaluation)
        state.train_loss, state.train_rows = 0.0, 0
        self.keep(state, evaluation)

    def _run(self, state: State, bar: tqdm) -> None:
        started = time.monotonic() - state.seconds
        saved = time.monotonic()
        batches: list[np.ndarray] = []
        if self.is_evaluated(0) and not state.history:
            self.evaluate(state)
        while state.step < self.steps and not self.is_over(state):
            epoch, at = divmod(state.step, self.epoch_steps)
            if at == 0 or not batches:
                batches = self.batches(epoch)
            loss = self.loss_of(batches[at])
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {state.step}; lower {self.learning_rate}")
            state.step += 1
            state.train_loss += loss * len(batches[at])
            state.train_rows += len(batches[at])
            state.seconds = time.monotonic() - started
            tf.summary.scalar("train/loss", loss, state.step)
            bar.set_postfix(loss=f"{state.train_loss / state.train_rows:.4f}", refresh=False)
            bar.update()
            if self.is_evaluated(state.step):
                self.evaluate(state)
            elif time.monotonic() - saved < self._checkpoint_seconds:
                continue
            self.checkpoints.save(dataclasses.asdict(state))
            saved = time.monotonic()


class Checkpoints:
    """A folder with the newest state of a run, and its best weights so far.

    A state is a JSON value and the variables of the model (with the seeds of its dropout) and of the optimizers, which
    must be built. The best weights change less often and have a file of their own, which the state names.
    """

    def __init__(self, folder: Path, weights: Sequence[Any], optimizers: Sequence[Any]) -> None:
        self.folder = folder
        self.weights = list(weights)
        self.variables = [*weights, *optimizers]

    def save(self, progress: Mapping[str, Any]) -> None:
        """Writes the state; `progress["best_file"]` names the best weights' file, "" if there is none yet."""
        about = {"progress": json.dumps(progress)}
        _write(self.folder / STATE, self.variables, about)
        for path in self.folder.iterdir():
            if path.name not in (STATE, progress["best_file"]):
                path.unlink()

    def save_best(self, step: int) -> str:
        """Writes the weights as the best so far; returns the file's name, for the next state's `best_file`."""
        name = f"best-{step:08d}.safetensors"
        _write(self.folder / name, self.weights, {})
        return name

    def load(self) -> dict[str, Any] | None:
        """Restores the newest state; returns its JSON value, or None if there is no state."""
        if not (self.folder / STATE).exists():
            return None
        with safe_open(self.folder / STATE, "np") as file:
            about = file.metadata()
            _assign(file, self.variables)
        return dict(json.loads(about["progress"]))

    def load_best(self, name: str) -> None:
        """Restores the model's best weights."""
        with safe_open(self.folder / name, "np") as file:
            _assign(file, self.weights)


def _write(path: Path, variables: Sequence[Any], about: dict[str, str]) -> None:
    arrays = {f"{i:05d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, about)


def _assign(file: Any, variables: Sequence[Any]) -> None:
    for i, variable in enumerate(variables):
        variable.assign(file.get_tensor(f"{i:05d}"))
