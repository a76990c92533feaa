"""One call checks what every student must keep: determinism, strings against hashes, files, SavedModel, int8 form."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfb2d.compress.pack import pack
from tfb2d.compress.student import stored_tables
from tfb2d.config import StudentConfig, TrainingConfig
from tfb2d.data.task import Task
from tfb2d.serving.export import export
from tfb2d.students.model import Student, load_student
from tfb2d.students.rows import TrainingRows, hash_rows
from tfb2d.students.training import Trainer

NASTY = ["", " ", "a", "USB-C cable 1 m", "55sk8500pla", "ΣΊΣΥΦΟΣ", "漢字かな", "a\x00b", "\ufeff!?", "é" * 300, "🙂🙂"]

# Reads SavedModels where neither tfb2d nor TF.Text was imported, and writes what they score.
PLAIN = """
import sys, numpy as np, tensorflow as tf
source, *pairs = sys.argv[1:]
columns = np.load(source, allow_pickle=False)
for model, result in zip(pairs[::2], pairs[1::2]):
    served = tf.saved_model.load(model).signatures["serving_default"]
    out = served(**{name: tf.constant(columns[name]) for name in columns.files})
    np.savez(result, **{name: value.numpy() for name, value in out.items()})
assert not [name for name in sys.modules if name.split(".")[0] in ("tfb2d", "tensorflow_text", "tf_keras")]
"""


def some_texts(task: Task, n: int = 64, seed: int = 0) -> list[list[str]]:
    """Columns of texts: nasty ones, then words drawn at random."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{i}" for i in range(200)] + ["red", "Blue", "64gb"])
    columns = []
    for _ in task.fields:
        drawn = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(n - len(NASTY))]
        columns.append([*rng.permutation(NASTY), *drawn])
    return columns


def some_rows(task: Task, folder: Path, n: int = 640, seed: int = 0, affixes: tuple[int, ...] = ()) -> TrainingRows:
    """Hashed rows whose target depends on the texts' lengths, so that there is something to learn."""
    columns = [np.array(column, object) for column in some_texts(task, n, seed)]
    long = np.array([len(text.split()) > 6 for text in columns[-1]])
    k = task.n_logits
    targets = long[:, None].astype(np.float32) if k == 1 else np.eye(k, dtype=np.float32)[long * (k - 1)]
    return hash_rows(iter([(columns, targets)]), folder, 64, progress=False, affixes=affixes)


def run_student_test(task: Task, config: StudentConfig, folder: Path) -> Student:
    """Trains a small student and checks it; returns it."""
    rows = some_rows(task, folder / "rows", affixes=config.affixes)
    valid = some_rows(task, folder / "valid", 128, 1, config.affixes)
    training = TrainingConfig(epochs=3, batch_size=64, table_learning_rate=0.2, learning_rate=1e-2)

    def trained(out: Path) -> tuple[Student, list]:
        student = Student(task, config, 7)
        student.learn_vocabulary(rows)
        trainer = Trainer(student, rows, valid, training, out)
        history = trainer.fit(progress=False)
        student.silence(trainer.table_optimizer.untouched(student.ngrams.table))
        return student, history

    student, history = trained(folder / "a")
    assert history[-1]["loss"] < history[0]["loss"]

    # The same seed gives the same bits.
    twin, again = trained(folder / "b")
    for one, other in zip(student.trunk.weights, twin.trunk.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert [h["loss"] for h in history] == [h["loss"] for h in again]

    # Strings and their cached hashes give the same logits.
    columns = some_texts(task, 100, 3)
    texts = [tf.constant(column) for column in columns]
    logits = student.model(texts).numpy()
    assert logits.shape == (100, task.n_logits)
    assert np.isfinite(logits).all()
    hashed = hash_rows(
        iter([([np.array(c, object) for c in columns], np.zeros((100, task.n_logits), np.float32))]),
        folder / "hashed",
        config.max_tokens,
        progress=False,
        affixes=config.affixes,
    )
    np.testing.assert_allclose(student.trunk(hashed.batch(np.arange(100))[0]).numpy(), logits, atol=1e-5)

    # Saved and loaded.
    student.save(folder / "saved")
    np.testing.assert_array_equal(load_student(folder / "saved").model(texts).numpy(), logits)

    # A batch of none.
    assert student.model([tf.constant([], tf.string) for _ in task.fields]).shape == (0, task.n_logits)

    # Its int8 form: smaller, nearly the same logits, saved and loaded.
    packed = pack(student, rows)
    nearly = packed.model(texts).numpy()
    assert np.abs(nearly - logits).max() < 0.03 * (logits.max() - logits.min())
    for name, table in stored_tables(packed).items():
        layer = student.embeddings[name]
        assert table.nbytes <= layer.buckets * (layer.dim + 4)
    packed.save(folder / "packed")
    np.testing.assert_array_equal(load_student(folder / "packed").model(texts).numpy(), nearly)

    # The SavedModels, in a process that has TensorFlow alone.
    _check_saved_models({"float": student, "int8": packed}, columns, folder)
    return student


def _check_saved_models(students: dict[str, Student], columns: list[list[str]], folder: Path) -> None:
    task = next(iter(students.values())).task
    bias = [0.1] * task.n_logits
    np.savez(folder / "in.npz", **{name: np.array([t.encode() for t in c], "S") for name, c in _plain(task, columns)})
    arguments = [str(folder / "in.npz")]
    for name, student in students.items():
        warmup = [column[:20] for column in columns]
        model = export(student, folder / name, scale=1.5, bias=bias, warmup=warmup, fingerprint="x")
        arguments += [str(model), str(folder / f"{name}.npz")]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, cwd=folder)
    kept = [i for i in range(len(columns[0])) if all("\0" not in column[i] for column in columns)]
    for name, student in students.items():
        out = np.load(folder / f"{name}.npz")
        expected = student.model([tf.constant([c[i] for i in kept]) for c in columns]).numpy()
        z = 1.5 * expected + 0.1
        score = 1 / (1 + np.exp(-z)) if task.n_logits == 1 else np.exp(z) / np.exp(z).sum(1, keepdims=True)
        if task.n_logits == 1:
            expected, score = expected[:, 0], score[:, 0]
        np.testing.assert_allclose(out["logit"], expected, atol=1e-5)
        np.testing.assert_allclose(out["score"], score, atol=1e-5)


def _plain(task: Task, columns: list[list[str]]) -> list[tuple[str, list[str]]]:
    # NumPy's byte strings end at a NUL.
    kept = [i for i in range(len(columns[0])) if all("\0" not in column[i] for column in columns)]
    return [(name, [column[i] for i in kept]) for name, column in zip(task.fields, columns, strict=True)]
