"""Trains a student on hashed rows: the one function that the pipeline, the sweep and the bench call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfb2d.config import TrainingConfig
from tfb2d.evaluation.calibration import calibrate
from tfb2d.evaluation.headline import Headline, decide
from tfb2d.outcomes import Calibration, DecisionNumbers
from tfb2d.probability import one_column
from tfb2d.students import early_exit
from tfb2d.students.model import Student
from tfb2d.students.rows import TrainingRows
from tfb2d.students.training import Trainer

WordVectors = tuple[np.ndarray, np.ndarray]  # hashes [n] int64 and vectors [n, width] float32, most frequent first


@dataclass(frozen=True)
class Fitted:
    """A trained student.

    Attributes:
      student: the student.
      history: figures an epoch, see `Trainer.fit`.
      calibration: from its logits to probabilities, learnt on the validation rows that have a label.
      decision: of a binary task, the threshold that these rows choose; None of others.
      logits: a function of hashed rows to logits `[n, k]` float32.
      is_chief: whether this process is the one that writes; where one trains alone it is.
    """

    student: Student
    history: list[dict[str, float]]
    calibration: Calibration
    decision: DecisionNumbers | None
    logits: Callable[[TrainingRows], np.ndarray]
    is_chief: bool = True


def fit_student(
    student: Student,
    rows: TrainingRows,
    valid: TrainingRows,
    config: TrainingConfig,
    out: Path,
    words: WordVectors | None = None,
    progress: bool = True,
    start_from: Callable[[np.ndarray, np.ndarray], None] | None = None,
    headline: Headline | None = None,
) -> Fitted:
    """Trains a student in place: vocabulary, start from word vectors, training, calibration.

    A run that was killed goes on from its newest checkpoint and ends with the same weights.

    Args:
      student: a new one.
      rows: to learn from.
      valid: to watch and to calibrate on; the targets are labels.
      config: rates, epochs, batch.
      out: gets the checkpoints, `history.json` and `tensorboard/`.
      words: a teacher's word vectors to start from; None starts at random.
      progress: whether to show a bar of the batches.
      start_from: takes the place of `student.start_from`.
      headline: of the rows of `valid`; see `Trainer`.

    Raises:
      FloatingPointError: the loss or a weight is no number any more.
    """
    student.learn_vocabulary(rows.rows, rows.index)
    if words is not None:
        (start_from or student.start_from)(*words)
    trainer = Trainer(student, rows, valid, config, out, headline)
    history = trainer.fit(progress)
    student.zero_rows(trainer.untouched())
    labels = (valid.targets[:, 0] if student.task.n_logits == 1 else valid.targets.argmax(1)).astype(np.float64)
    if student.exit:
        early_exit.fit(student, valid, labels)
    logits = trainer.logits(valid)
    calibration = calibrate(student.task, labels, one_column(logits))
    decision = decide(student.task, labels, calibration.apply(one_column(logits)))
    return Fitted(student, history, calibration, decision, trainer.logits, trainer.steps.is_chief)
