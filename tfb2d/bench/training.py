"""Trains a student for the bench: to measure the speed of training, or where the flags name no model."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.bench.measure import peak_megabytes


def train_student(folder: str, task: dict[str, Any], columns: Sequence[Sequence[str]], labels: Sequence[float]) -> str:
    """Trains a student on labels alone, class indices or values in [0, 1]; returns its version folder, uncalibrated."""
    from tfb2d.config import StudentConfig, TrainingConfig
    from tfb2d.data.task import Task
    from tfb2d.serving.export import export
    from tfb2d.students.fit import fit_student
    from tfb2d.students.model import Student

    about, out = Task.from_json(task), Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    config = StudentConfig(dropout=0.3, ngram_dropout=0.3)
    rows = _hashed(out / "rows", columns, targets(labels, about.n_logits), config.max_tokens)
    student = Student(about, config)
    training = TrainingConfig(epochs=4, table_learning_rate=0.02)
    fit_student(student, rows, rows, training, out / "train", progress=False)
    bias, warmup = [0.0] * about.n_logits, [list(column[:32]) for column in columns]
    version = export(student, out, scale=1.0, bias=bias, warmup=warmup, fingerprint="bench")
    for name in ("rows", "train"):
        shutil.rmtree(out / name)
    return str(version)


def training_speed(
    folder: str, columns: Sequence[Sequence[str]], rows: int, buckets: int, dim: int, batch: int
) -> dict[str, Any]:
    """Measures the rows a second of hashing and of training, on real texts that are repeated as needed.

    Returns `{"hashing": {"seconds", "cpu_seconds"}, "training": the same, "rows", "peak_mb"}`. Hashing turns strings
    into hashes on disk. Training is the second of two epochs over these hashes.
    """
    from tfb2d.config import StudentConfig, TrainingConfig
    from tfb2d.data.task import Task
    from tfb2d.students.model import Student
    from tfb2d.students.training import Trainer

    out = Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    config = StudentConfig(buckets=buckets, dim=dim)
    many = [np.resize(np.asarray(column, object), rows) for column in columns]
    labels = np.random.default_rng(0).random((rows, 1), np.float32)
    _hashed(out / "warm", [column[:4096] for column in many], labels[:4096], config.max_tokens)
    began, cpu = time.perf_counter(), time.process_time()
    hashed = _hashed(out / "rows", many, labels, config.max_tokens)
    hashing = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    fields = ("text",) if len(columns) == 1 else ("query", "title")
    valid = _hashed(out / "valid", [column[:256] for column in many], labels[:256], config.max_tokens)
    settings = TrainingConfig(epochs=2, batch_size=batch)
    trainer = Trainer(Student(Task(fields), config), hashed, valid, settings, out / "train")
    cpu = time.process_time()
    history = trainer.fit(False)
    share = history[1]["seconds"] / (history[0]["seconds"] + history[1]["seconds"])
    training = {"seconds": history[1]["seconds"], "cpu_seconds": (time.process_time() - cpu) * share}
    shutil.rmtree(out)
    return {"hashing": hashing, "training": training, "rows": rows, "peak_mb": peak_megabytes()}


def targets(labels: Sequence[float], n_logits: int) -> np.ndarray:
    """Returns labels as `[n, n_logits]` probabilities, float32."""
    values = np.asarray(labels, np.float32)
    return values[:, None] if n_logits == 1 else np.eye(n_logits, dtype=np.float32)[values.astype(int)]


def _hashed(folder: Path, columns: Sequence[Any], labels: np.ndarray, max_tokens: int) -> Any:
    from tfb2d.students.hashing import hash_rows

    return hash_rows([np.asarray(column, object) for column in columns], labels, folder, max_tokens)
