"""A small exported student of pairs, and labelled files for it."""

from pathlib import Path

import pytest

from tfb2d.compress.tflite import write_edge
from tfb2d.config import StudentConfig
from tfb2d.data.task import Task
from tfb2d.model_folder import EDGE
from tfb2d.serving.export import export
from tfb2d.students.model import Student


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = Student(Task(("query", "title")), StudentConfig(buckets=97, dim=4, ffn=(8,), soft_buckets=31))
    texts = [["red shoe"], ["a shoe of leather"]]
    folder = tmp_path_factory.mktemp("shop")
    version = export(student, folder, scale=1.0, bias=[0.0], warmup=texts, fingerprint="")
    write_edge(student, version / EDGE, 1.0, [0.0])
    return version


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, rows in (("test", 40), ("train", 80)):
        lines = [f"shoe {i % 7}\t{'good' if i % 2 else 'bad'} shoe, number {i}\t{i % 2}" for i in range(rows)]
        (folder / f"{name}.tsv").write_text("\n".join(["query\ttitle\tlabel", *lines]) + "\n")
    return folder
