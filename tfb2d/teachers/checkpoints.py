"""Keeps the state of training on disk, so that a killed run goes on as if it had not been. Nothing is pickled."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from safetensors import safe_open
from safetensors.numpy import save_file

from tfb2d.atomic import atomic_path

STATE = "state.safetensors"


class Checkpoints:
    """A folder with the newest state of a run, and its best weights so far.

    A state is a JSON value and the variables of the model (with the seeds of its dropout) and of the optimizer. The best
    weights change less often and have a file of their own, which the state names.

    Args:
      folder: where the files go.
      weights: the model's variables.
      optimizers: those of its optimizers, which are built.
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
