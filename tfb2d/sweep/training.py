"""Trains variants: each with each seed in a folder of its own, skipped when done, gone on with when stopped."""

import gc
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d import __version__
from tfb2d.config import Config, ConfigError
from tfb2d.data.errors import DataError
from tfb2d.data.files import atomic_path, read_json, write_json
from tfb2d.stages import fingerprint
from tfb2d.students.text_spec import SPEC
from tfb2d.sweep.material import Material
from tfb2d.sweep.settings import ALL, Axis, Settings, Variant

PER_PROCESS = 8  # trainings
RESULT, LOGITS = "result.json", "logits.safetensors"


@dataclass(frozen=True)
class Job:
    """A variant with a seed.

    Attributes:
      names: axis and variant of all that ask for it: settings that are the same are trained once.
      print: of the settings, and of what they are applied to; names the folder.
    """

    settings: Settings
    seed: int
    print: str
    names: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Below the sweep's folder."""
        return f"variants/{self.print}/seed-{self.seed}"


def jobs(material: Material, axes: Sequence[Axis], seeds: int) -> list[Job]:
    """All that has to be trained: the base first, and every seed of a variant before the next variant."""
    names: dict[str, list[str]] = {}
    settings: dict[str, Settings] = {}
    variants = [(axis, one) for axis in axes for one in axis.variants]
    for axis, one in sorted(variants, key=lambda pair: not pair[1].base):
        print_ = identity(material, one.settings)
        settings[print_] = one.settings
        names.setdefault(print_, []).append("recipe" if one.base else f"{axis.name}: {one.name}")
    first = material.config.training.seed
    return [
        Job(settings[print_], first + at, print_, tuple(dict.fromkeys(found)))
        for print_, found in names.items()
        for at in range(seeds)
    ]


def identity(material: Material, settings: Settings) -> str:
    """A variant's fingerprint."""
    inputs = ["data", *(f"logits/{name}" for name in settings.teachers)]
    if settings.targets == "labels":
        inputs = ["data"]
    if settings.student.teacher_init and "words" in material.prints:
        inputs.append("words")
    made_from = [material.prints[name] for name in inputs]
    return fingerprint(settings.to_json(), made_from, SPEC["version"], *material.affixes, __version__)[:16]


def base_of(axes: Sequence[Axis]) -> Variant:
    """The recipe's own settings, which every axis has."""
    return next(one for axis in axes for one in axis.variants if one.base)


def is_done(job: Job, out: Path) -> bool:
    """Whether a job's result is there."""
    return (out / job.folder / RESULT).exists()


def train(material: Material, job: Job, out: Path, progress: bool = False) -> dict[str, Any]:
    """Trains a variant with a seed, unless that was done before.

    Writes the logits of the validation and test splits, and `result.json` with all but figures of the test split: those
    are looked at together, when the sweep is finished.

    Args:
      material: loaded.
      job: what to train.
      out: the sweep's folder.
      progress: whether to show a bar of the batches.

    Returns:
      `result.json`: settings, rows, seconds, size, calibration, history.
    """
    folder = out / job.folder
    if is_done(job, out):
        return dict(read_json(folder / RESULT))
    import tf_keras
    from safetensors.numpy import save_file

    from tfb2d.evaluation.calibration import calibrate
    from tfb2d.students.model import Student
    from tfb2d.students.training import Trainer
    from tfb2d.sweep import vocabulary

    begin = time.monotonic()
    for leftover in folder.glob(".*.tmp"):  # of a write that a kill cut short
        leftover.unlink()
    settings, task = job.settings, material.task
    rows, words = material.learn_from(settings), material.words(settings)
    shape, ids = settings.student, None
    if settings.vocabulary:
        ids = vocabulary.frequent(material.rows["transfer"], shape.orders, settings.vocabulary, rows.index)
        shape = replace(shape, buckets=len(ids) + 1)
    student = Student(task, shape, job.seed)
    student.learn_vocabulary(material.rows["transfer"], rows.index)
    if ids is not None:
        vocabulary.use(student, ids)
    if words is not None and ids is not None:
        vocabulary.start_from(student, ids, *words)
    elif words is not None:
        student.start_from(*words)
    trainer = Trainer(student, rows, material.watch("valid"), replace(settings.training, seed=job.seed), folder)
    history = trainer.fit(progress)
    student.silence(trainer.table_optimizer.untouched(student.ngrams.table))
    logits = {split: trainer.logits(material.watch(split)) for split in ("valid", "test")}
    flat = logits["valid"][:, 0] if task.n_logits == 1 else logits["valid"]
    labels = material.labels["valid"]
    known = np.isfinite(labels)
    numbers = sum(int(np.prod(weight.shape)) for weight in student.trunk.trainable_variables)
    result = {
        "names": job.names,
        "settings": settings.to_json(),
        "seed": job.seed,
        "rows": rows.n,
        "train_seconds": sum(epoch["seconds"] for epoch in history),
        "seconds": time.monotonic() - begin,
        "parameters": numbers,
        "megabytes": numbers * 4 / 1e6 + (4 * len(ids) / 1e6 if ids is not None else 0.0),
        "calibration": calibrate(task, labels[known], flat[known]).to_json(),
        "history": history,
    }
    with atomic_path(folder / LOGITS) as path:
        save_file(logits, path)
    trainer.discard()
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    write_json(folder / RESULT, result)
    del student, trainer
    tf_keras.backend.clear_session()
    gc.collect()
    return result


def train_all(
    run: Path, config: Config, cache: Path, todo: Sequence[Job], out: Path, progress: bool, before: int, total: int
) -> None:
    """Trains jobs one after the other, in a process of their own, which ends when the one that started it does.

    Args:
      run, config, cache: of the Material.
      todo: the jobs.
      out: the sweep's folder.
      progress: whether to show bars.
      before: jobs of this sweep that were trained before these, of `total`.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    where = ""
    try:
        material = Material(run, config, cache, progress)
        material.load()
        for number, job in enumerate(todo, before + 1):
            where = f"{job.names[0]}, seed {job.seed}: "
            begin = time.monotonic()
            accuracy = train(material, job, out, progress)["history"][-1]["valid_accuracy"]
            took = time.monotonic() - begin
            print(
                f"{number} of {total}: {where}validation accuracy {accuracy:.4f}, {took:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    except (ConfigError, DataError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {where}{error}")


def _end_with(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


def estimate(material: Material, todo: Sequence[Job], out: Path) -> list[float]:
    """Seconds that each job will take: as long as its other seed did, or by rows and epochs as the run's student did."""
    done = {path: read_json(path) for path in sorted(out.glob(f"variants/*/*/{RESULT}"))}
    same = {path.parent.parent.name: one["seconds"] for path, one in done.items()}
    rates = [one["seconds"] / _work(one["rows"], one["settings"]) for one in done.values()]
    student = material.run / "student/stage.json"
    if not rates and student.exists():
        outcome = read_json(student)["outcome"]
        epochs = [epoch["seconds"] for epoch in outcome["history"]]
        rates = [sum(epochs) / (outcome["rows"] * max(len(epochs), 1))]
    rate = float(np.median(rates)) if rates else float("nan")
    facts = material.facts
    seconds = []
    for job in todo:
        pool = facts.unlabelled + (facts.augmented if job.settings.augmented else 0)
        rows = facts.judged + (pool if job.settings.rows == ALL else min(pool, job.settings.rows))
        rows = facts.judged if job.settings.targets == "labels" else rows
        seconds.append(same.get(job.print, rate * _work(rows, job.settings.to_json())))
    return seconds


def _work(rows: int, settings: dict[str, Any]) -> float:
    return float(rows * settings["training"]["epochs"])
