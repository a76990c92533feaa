"""Trains a student on hashed rows: a run's (`train_student`), or any, as the sweep and the bench do (`fit_student`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tfb2d.atomic import atomic_path
from tfb2d.config import Config, TrainingConfig
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.distill.targets import fit, hard_targets, soft_targets
from tfb2d.evaluation.calibration import calibrate
from tfb2d.evaluation.headline import Headline, decide, headline_on
from tfb2d.outcomes import Calibration, DecisionNumbers, Stack, StudentOutcome
from tfb2d.probability import one_column
from tfb2d.runs import Run
from tfb2d.students import early_exit
from tfb2d.students.model import Student
from tfb2d.students.rows import HashedRows, TrainingRows, with_targets
from tfb2d.students.spelling import Dictionary
from tfb2d.students.training import Trainer

WordVectors = tuple[np.ndarray, np.ndarray]  # hashes [n] int64 and vectors [n, width] float32, most frequent first


def train_student(run: Run, config: Config) -> StudentOutcome:
    """Trains a run's student in this process. Where several processes do, the chief alone writes."""
    tables = [run.logits(name, "valid") for name in config.teachers]
    labels = read_table(run.split("valid"), ["label"]).column("label").to_numpy().astype(np.float64)
    stack = fit(config.distill, tables, Task.from_config(config.data), labels)
    words = None
    if config.student.teacher_init and any(teacher.preset for teacher in config.teachers.values()):
        vectors = load_file(run.words)
        words = vectors["hashes"], vectors["vectors"]
    fitted = _fit_of_run(run, config, soft_training_rows(run, config, stack), run.student, words)
    return StudentOutcome(fitted.rows.n, fitted.calibration, tuple(fitted.history), stack, fitted.decision)


def train_on_labels(run: Run, config: Config) -> StudentOutcome:
    """Trains the same student on labels alone, and keeps its logits of the validation and test splits."""
    fitted = _fit_of_run(run, config, labelled_rows(run, config, "train"), run.labels_only, None)
    with atomic_path(run.labels_only_logits) as path:
        save_file({split: fitted.logits(labelled_rows(run, config, split)) for split in ("valid", "test")}, path)
    return StudentOutcome(fitted.rows.n, fitted.calibration, tuple(fitted.history), None, fitted.decision)


def soft_training_rows(run: Run, config: Config, stack: Stack) -> TrainingRows:
    """Returns the hashed transfer rows with the targets that the student learns.

    Raises DataError where no row has a teacher's logit or a label.
    """
    tables = [run.logits(name) for name in config.teachers]
    targets = soft_targets(run.split("transfer"), tables, Task.from_config(config.data), stack, config.distill)
    return with_targets(HashedRows(run.rows("transfer")), targets)


def labelled_rows(run: Run, config: Config, split: str) -> TrainingRows:
    """Returns a split's hashed rows with labels as targets; raises DataError where no row has a label."""
    return with_targets(HashedRows(run.rows(split)), hard_targets(run.split(split), Task.from_config(config.data)))


@dataclass(frozen=True)
class Fitted:
    """A trained student."""

    student: Student
    rows: TrainingRows  # that it learnt from
    history: list[dict[str, float]]  # figures an epoch, see `Trainer.fit`
    calibration: Calibration  # from its logits to probabilities, learnt on the validation rows that have a label
    decision: DecisionNumbers | None  # of a binary task, the threshold that these rows choose; None of others
    logits: Callable[[TrainingRows], np.ndarray]  # a function of hashed rows to logits `[n, k]` float32
    is_chief: bool = True  # whether this process is the one that writes; where one trains alone it is


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
    """Trains a new student in place: vocabulary, start from word vectors, training, calibration on `valid`.

    A run that was killed continues from its newest checkpoint and ends with the same weights. The arguments are those of
    `Trainer`, and `words`, a teacher's word vectors to start from, by `start_from` or else the student's own; None
    starts at random. Raises FloatingPointError where the loss or a weight is no number any more.
    """
    student.learn_vocabulary(rows)
    if words is not None:
        (start_from or student.start_from)(*words)
    trainer = Trainer(student, rows, valid, config, out, headline)
    history = trainer.fit(progress)
    student.zero_rows(trainer.steps.untouched())
    labels = (valid.targets[:, 0] if student.task.n_logits == 1 else valid.targets.argmax(1)).astype(np.float64)
    if student.exit:
        early_exit.fit(student, valid, labels)
    logits = trainer.logits(valid)
    calibration = calibrate(student.task, labels, one_column(logits))
    decision = decide(student.task, labels, calibration.apply(one_column(logits)))
    return Fitted(student, rows, history, calibration, decision, trainer.logits, trainer.steps.is_chief)


def _fit_of_run(run: Run, config: Config, rows: TrainingRows, folder: Path, words: WordVectors | None) -> Fitted:
    task = Task.from_config(config.data)
    dictionary = Dictionary.load(run.spelling) if config.student.spelling else None
    student = Student(task, config.student, config.training.seed, dictionary=dictionary)
    headline = headline_on(task, read_table(run.split("valid")), config.report.headline)
    valid = labelled_rows(run, config, "valid")
    fitted = fit_student(student, rows, valid, config.training, folder, words, run.progress, headline=headline)
    if fitted.is_chief:
        student.save(folder)
    return fitted
