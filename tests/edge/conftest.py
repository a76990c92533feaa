"""Small exported students with their edge form."""

from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from tests.students.harness import PAIR, SMALL, TEXT, strong_student
from tfb2d.compress.tflite import write_edge
from tfb2d.serving.export import export


def exported(folder: Path, task, config) -> Path:
    """A version folder with the int8 form inside, and the float form in `<folder>/float`."""
    student = strong_student(task, config)
    texts = [["usb cable", "lamp"]] * len(task.fields)
    version = export(student, folder / "shop", scale=1.5, bias=[0.1], warmup=texts, fingerprint="x")
    write_edge(student, version / "assets.extra/edge", 1.5, [0.1])
    write_edge(student, folder / "float", 1.5, [0.1], "float")
    return version


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("text"), TEXT, SMALL)


@pytest.fixture(scope="session")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("pair"), PAIR, replace(SMALL, max_tokens=12))


@pytest.fixture(scope="session")
def served_text(text_model: Path):
    model = tf.saved_model.load(str(text_model))
    return model, model.signatures["serving_default"]


@pytest.fixture(scope="session")
def served_pair(pair_model: Path):
    return tf.saved_model.load(str(pair_model))
