"""Students with made-up weights that are large enough for every part of them to count."""

import numpy as np

from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.students.model import Student

REVIEWS = Task(("text",), "binary", ("bad", "good"), "label")
PAIRS = Task(("query", "title"), "binary", (), "label")
NEWS = Task(("text",), "multiclass", ("sport", "politics", "trade"), "topic")
SMALL = {"buckets": 2**10, "dim": 8, "max_tokens": 12, "soft_buckets": 2**8}


def student(task: Task, seed: int = 3, **settings: object) -> Student:
    """Returns a student of SMALL with other settings, its weights drawn at random."""
    made = Student(task, StudentConfig(**{**SMALL, "ffn": (16, 8), **settings}), seed=seed)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    for weight in made.trunk.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return made
