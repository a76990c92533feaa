"""Trains on two logical devices of this processor and on one, and compares.

It is a process of its own: TensorFlow splits devices before its first op.
"""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tests.students.harness import PAIR, SMALL, TEXT, some_rows  # noqa: E402
from tfb2d.config import StudentConfig, TrainingConfig  # noqa: E402
from tfb2d.students.model import Student  # noqa: E402
from tfb2d.students.rows import TrainingRows  # noqa: E402
from tfb2d.students.training import Trainer  # noqa: E402

ROWS = 97  # of 32 a batch: the last has one row, so that one replica has none
TRAINING = TrainingConfig(epochs=2, batch_size=32, table_learning_rate=0.2, learning_rate=1e-2, strategy="mirrored")
TASK = TEXT if sys.argv[1] == "text" else PAIR  # a graph of single texts is made in half the time
STILL = replace(SMALL, dropout=0.0, ngram_dropout=0.0)


@cache
def hashed(folder: Path) -> TrainingRows:
    """Returns the rows that all learn from."""
    return some_rows(TASK, folder, ROWS)


def trained(folder: Path, training: TrainingConfig, shape: StudentConfig = STILL) -> Trainer:
    """Trains a student that starts always the same, and goes on where the folder's checkpoint ends."""
    rows = hashed(folder.parent / "rows")
    item = Trainer(Student(TASK, shape, 3), rows, rows, training, folder)
    item.fit(progress=False)
    return item


def assert_same(item: Trainer, other: Trainer, weights: float, figures: float) -> None:
    """Compares weights, figures and logits within tolerances, and which rows were read.

    A table row whose gradient is near zero moves by its sign, which rounding may turn; so weights differ more than figures.
    """
    for weight, expected in zip(item.student.trunk.weights, other.student.trunk.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=0, atol=weights, err_msg=weight.name)
    np.testing.assert_array_equal(item.steps.untouched(), other.steps.untouched())
    np.testing.assert_allclose(item.logits(item.valid), other.logits(item.valid), rtol=0, atol=10 * figures)
    for mine, expected in zip(item.history, other.history, strict=True):
        for name in ("loss", "valid_loss"):
            np.testing.assert_allclose(mine[name], expected[name], rtol=0, atol=figures)


def compare(folder: Path) -> None:
    """Compares two devices with one."""
    alone = trained(folder / "alone", replace(TRAINING, strategy=""))
    together = trained(folder / "together", TRAINING)
    assert together.steps.replicas == 2  # type: ignore[attr-defined]
    assert alone.history[1]["loss"] < alone.history[0]["loss"]
    assert_same(together, alone, 2e-3, 1e-5)
    # A checkpoint of two devices is read by one, and the other way round.
    assert_same(trained(folder / "alone", TRAINING), alone, 0.0, 0.0)
    assert_same(trained(folder / "together", replace(TRAINING, strategy="")), together, 0.0, 0.0)


def drop(folder: Path) -> None:
    """Replicas draw noise of their own, the same in each run; the counters stand where one process would leave them."""
    still = trained(folder / "still", TRAINING)
    shape = replace(SMALL, ngram_dropout=0.5)
    noisy, again = (trained(folder / name, TRAINING, shape) for name in ("noisy", "again"))
    assert_same(noisy, again, 1e-4, 1e-6)
    moved = noisy.student.ngrams.table.numpy() - still.student.ngrams.table.numpy()
    assert np.abs(moved).max() > 0.01
    assert int(noisy.student.ngrams.drop.step) == 2 * TRAINING.epochs * -(-ROWS // TRAINING.batch_size)


if __name__ == "__main__":
    {"text": compare, "pair": compare, "drop": drop}[sys.argv[1]](Path(sys.argv[2]))
