"""Encoders and tables that the tests of teachers share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.teachers.encoders import WORDS, save_encoder
from tfb2d.config import TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.teacher import Teacher

PAIR = Task(("query", "title"))
SINGLE = Task(("text",))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny encoder with random weights, by its family's name."""
    folders: dict[str, Path] = {}

    def find(family: str) -> Path:
        if family not in folders:
            folders[family] = save_encoder(family, tmp_path_factory.mktemp("encoders") / family)
        return folders[family]

    return find


@pytest.fixture(scope="session")
def teacher(encoder: Callable[[str], Path]) -> Teacher:
    """A tiny BERT for pairs, with random weights."""
    config = TeacherConfig(preset=str(encoder("bert")), max_length=32)
    return Teacher(build_classifier(config, 1), PAIR, config.max_length)


@pytest.fixture(scope="session")
def saved(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, saved."""
    folder = tmp_path_factory.mktemp("saved") / "bert"
    teacher.save(folder, {"preset": "tiny", "outcome": {}})
    return folder


def phrases(rows: int, seed: int, longest: int = 8) -> list[str]:
    """Random texts of 1 to `longest` words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(rows)]


def write_table(folder: Path, columns: dict[str, list], parts: int = 1) -> Path:
    """Writes a table as the data stage does, in `parts` parts of uneven size."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {"label": pa.float32()}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})
    edges = np.linspace(0, 1, parts + 1) ** 2 * table.num_rows
    for number, (start, end) in enumerate(zip(edges[:-1].astype(int), edges[1:].astype(int), strict=True)):
        pq.write_table(table.slice(start, end - start), folder / f"part-{number:05d}.parquet")
    return folder


def write_pairs(folder: Path, rows: int = 96, valid_rows: int = 48) -> Path:
    """The data stage's `train` and `valid` of a task that a tiny model learns: is the title about the query's thing?"""
    for name, seed, size in (("train", 1, rows), ("valid", 2, valid_rows)):
        rng = np.random.default_rng(seed)
        queries = rng.choice(["red shoe", "blue hat"], size)
        titles = [
            f"the {q}" if same else "poor film" for q, same in zip(queries, rng.integers(0, 2, size), strict=True)
        ]
        labels = [float(title != "poor film") for title in titles]
        write_table(folder / name, {"query": list(queries), "title": titles, "label": labels})
    return folder
