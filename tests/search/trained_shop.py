"""The shop of the page's tests: its titles, a ranker that is trained for seconds, a tiny teacher."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfb2d.config import StudentConfig, TeacherConfig, TrainingConfig
from tfb2d.data.task import Task

PAIR = Task(("query", "title"))
BRANDS, COLOURS = ["Acme", "Bolt", "Corvo", "Delta"], ["red", "blue", "black"]
THINGS = ["running shoes", "rain jacket", "USB-C cable 2 m", "coffee grinder", "desk lamp LED"]
TITLES = [f"{brand} {thing}, {colour}" for brand, thing, colour in itertools.product(BRANDS, THINGS, COLOURS)]


@dataclass(frozen=True)
class Shop:
    """Folders of what the page needs."""

    index: Path
    ranker: Path
    student: Path


def train_ranker(folder: Path) -> tuple[Path, Path]:
    """Trains a student to find titles that have the query's words; returns its folder and that of its export."""
    from tfb2d.serving.export import export
    from tfb2d.students.hashing import hash_rows
    from tfb2d.students.model import Student
    from tfb2d.students.training import Trainer

    rng = np.random.default_rng(4)
    rows = []
    for _ in range(1500):
        title, other = rng.choice(TITLES, 2)
        words = rng.permutation(title.replace(",", "").split())[: rng.integers(1, 4)]
        query = " ".join(words)
        rows += [(query, title, 1.0), (query, other, float(set(words) <= set(other.replace(",", "").split())))]
    queries, titles, labels = zip(*rows, strict=True)
    columns = [np.array(queries, object), np.array(titles, object)]
    targets = np.array(labels, np.float32)[:, None]

    def hashed(part: slice, name: str):  # type: ignore[no-untyped-def]
        return hash_rows([column[part] for column in columns], targets[part], folder / name, 32)

    config = StudentConfig(
        buckets=1009, dim=8, ffn=(32,), soft_buckets=509, max_tokens=32, dropout=0.0, ngram_dropout=0.0
    )
    training = TrainingConfig(epochs=2, batch_size=64, table_learning_rate=0.2, learning_rate=1e-2)
    student = Student(PAIR, config, 1)
    Trainer(student, hashed(slice(200, None), "rows"), hashed(slice(200), "valid"), training, folder / "fit").fit(False)
    student.save(folder / "student")
    warmup = [["red shoes"], ["Acme running shoes, red"]]
    exported = export(student, folder / "ranker", scale=1.0, bias=(0.0,), warmup=warmup, fingerprint="shop")
    return folder / "student", exported.parent


def save_teacher(folder: Path) -> Path:
    """Saves a tiny BERT with random weights as a teacher of pairs."""
    from tests.teachers.harness import save_encoder
    from tfb2d.teachers.models import build_classifier
    from tfb2d.teachers.teacher import Teacher

    config = TeacherConfig(preset=str(save_encoder("bert", folder / "encoder")), max_length=32)
    Teacher(build_classifier(config, 1), PAIR, config.max_length).save(
        folder / "teacher", {"preset": "tiny", "outcome": {}}
    )
    return folder / "teacher"
