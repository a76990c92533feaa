"""Trains each variant with each seed in its own folder; skips finished trainings and continues with stopped ones."""

import gc
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from tfb2d.atomic import atomic_path
from tfb2d.config import Config, ConfigError
from tfb2d.errors import DataError
from tfb2d.outcomes import Calibration, Figures, Outcome
from tfb2d.resume import RECORD, bring_up, fingerprint, is_finished, read_record
from tfb2d.runs import Run
from tfb2d.students.text_spec import SPEC
from tfb2d.sweep.run_data import RunData
from tfb2d.sweep.settings import Axis, Settings, Variant

PER_PROCESS = 8  # trainings
LOGITS = "logits.safetensors"
VERSION = 1  # of the code: raise it when the same settings and rows give another variant


@dataclass(frozen=True)
class VariantOutcome(Outcome):
    """Holds the outcome of a variant trained with one seed."""

    names: tuple[str, ...]  # "axis: variant" of all axes that have it
    rows: int  # that it learnt from
    epochs: int
    train_seconds: float  # of the batches
    seconds: float  # of the whole training
    parameters: int
    megabytes: float  # as float32, 10^6 bytes
    calibration: Calibration  # from its logits to probabilities
    history: tuple[Figures, ...]  # figures of each epoch


@dataclass(frozen=True)
class Job:
    """Holds a variant with a seed; equal settings of several axes are one job."""

    settings: Settings
    seed: int
    key: str  # fingerprint of the settings and of the data they are applied to; names the folder
    names: tuple[str, ...]  # "axis: variant" of all axes that have it

    @property
    def folder(self) -> str:
        """Returns the job's folder, relative to the sweep's."""
        return f"variants/{self.key}/seed-{self.seed}"


def jobs(run_data: RunData, axes: Sequence[Axis], seeds: int) -> list[Job]:
    """Returns the jobs of a sweep: the base first, and all seeds of a variant before the next variant."""
    names: dict[str, list[str]] = {}
    settings: dict[str, Settings] = {}
    variants = [(axis, variant) for axis in axes for variant in axis.variants]
    for axis, variant in sorted(variants, key=lambda pair: not pair[1].base):
        key = identity(run_data, variant.settings)
        settings[key] = variant.settings
        names.setdefault(key, []).append("recipe" if variant.base else f"{axis.name}: {variant.name}")
    first = run_data.config.training.seed
    return [
        Job(settings[key], first + number, key, tuple(dict.fromkeys(titles)))
        for key, titles in names.items()
        for number in range(seeds)
    ]


def identity(run_data: RunData, settings: Settings) -> str:
    """Returns a variant's fingerprint."""
    inputs = ["data", *(f"logits/{name}" for name in settings.teachers)]
    if settings.targets == "labels":
        inputs = ["data"]
    if settings.student.teacher_init and "words" in run_data.identities:
        inputs.append("words")
    made_from = [run_data.identities[name] for name in inputs]
    return fingerprint(VERSION, settings.to_json(), made_from, SPEC["version"], *run_data.affixes)[:16]


def base_of(axes: Sequence[Axis]) -> Variant:
    """Returns the recipe's own settings, which every axis has."""
    return next(variant for axis in axes for variant in axis.variants if variant.base)


def is_done(job: Job, out: Path) -> bool:
    """Says whether a job's training is finished."""
    return is_finished(out / job.folder)


def outcome_of(job: Job, out: Path) -> VariantOutcome:
    """Returns the outcome of a job that is done."""
    record = read_record(out / job.folder)
    assert record is not None  # of jobs that `is_done` says are done
    return VariantOutcome.from_json(record.outcome or {})


def train(run_data: RunData, job: Job, out: Path, progress: bool = False) -> VariantOutcome:
    """Trains a variant with a seed; returns at once where that is done, and continues where it was stopped.

    Writes the logits of the validation and test splits. The test figures of all variants are computed at the end.
    """
    return bring_up(
        out / job.folder,
        fingerprint(job.key, job.seed),
        lambda folder: _train(run_data, job, folder, progress),
        VariantOutcome,
        name=f"{job.names[0]}, seed {job.seed}",
    )


def _train(run_data: RunData, job: Job, folder: Path, progress: bool) -> VariantOutcome:
    import tf_keras
    from safetensors.numpy import save_file

    from tfb2d.students.fit import fit_student
    from tfb2d.students.model import Student
    from tfb2d.students.spelling import Dictionary
    from tfb2d.sweep import vocabulary

    begin = time.monotonic()
    settings, task = job.settings, run_data.task
    rows, words = run_data.learn_from(settings), run_data.words(settings)
    shape, ids, start_from = settings.student, None, None
    if settings.vocabulary:
        ids = vocabulary.frequent(run_data.rows["transfer"], shape.orders, settings.vocabulary, rows.index)
        shape = replace(shape, buckets=len(ids) + 1)
    dictionary = Dictionary.load(run_data.run.spelling) if shape.spelling else None
    student = Student(task, shape, job.seed, dictionary=dictionary)
    if ids is not None:
        vocabulary.use(student, ids)
        start_from = partial(vocabulary.start_from, student, ids)
    training = replace(settings.training, seed=job.seed, strategy="")  # a sweep is spread over processes of its own
    valid = run_data.watch("valid")
    fitted = fit_student(student, rows, valid, training, folder, words, progress, start_from, run_data.headline)
    with atomic_path(folder / LOGITS) as path:
        save_file({split: fitted.logits(run_data.watch(split)) for split in ("valid", "test")}, path)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    numbers = sum(int(np.prod(weight.shape)) for weight in student.trunk.trainable_variables)
    outcome = VariantOutcome(
        names=job.names,
        rows=rows.n,
        epochs=training.epochs,
        train_seconds=sum(epoch["seconds"] for epoch in fitted.history),
        seconds=time.monotonic() - begin,
        parameters=numbers,
        megabytes=numbers * 4 / 1e6 + (4 * len(ids) / 1e6 if ids is not None else 0.0),
        calibration=fitted.calibration,
        history=tuple(fitted.history),
    )
    del student, fitted
    tf_keras.backend.clear_session()
    gc.collect()
    return outcome


def train_all(
    run: Run, config: Config, todo: Sequence[Job], out: Path, progress: bool, before: int, total: int
) -> None:
    """Trains jobs one after the other, in a process that ends when its parent does; `before` of `total` are trained."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    where = ""
    try:
        run_data = RunData(run, config)
        run_data.load()
        for number, job in enumerate(todo, before + 1):
            where = f"{job.names[0]}, seed {job.seed}: "
            begin = time.monotonic()
            accuracy = train(run_data, job, out, progress).history[-1]["valid_accuracy"]
            took = time.monotonic() - begin
            line = f"{number} of {total}: {where}validation accuracy {accuracy:.4f}, {took:.0f} s"
            print(line, file=sys.stderr, flush=True)
    except (ConfigError, DataError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {where}{error}")


def _end_with(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


def estimate(run_data: RunData, todo: Sequence[Job], out: Path) -> list[float]:
    """Returns the expected seconds of each job.

    They are those of another seed, or follow from the rows and epochs of other variants or of the run's student.
    """
    done = []
    for path in sorted(out.glob(f"variants/*/*/{RECORD}")):
        record = read_record(path.parent)
        if record is not None and record.outcome is not None:
            done.append((path.parent.parent.name, VariantOutcome.from_json(record.outcome)))
    same = {key: variant.seconds for key, variant in done}
    rates = [variant.seconds / (variant.rows * variant.epochs) for _, variant in done]
    if not rates and run_data.run.finished("student"):
        student = run_data.run.student_outcome()
        rates = [sum(epoch["seconds"] for epoch in student.history) / (student.rows * max(len(student.history), 1))]
    rate = float(np.median(rates)) if rates else float("nan")
    return [same.get(job.key, rate * run_data.facts.rows(job.settings) * job.settings.training.epochs) for job in todo]
