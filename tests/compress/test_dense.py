"""TFMOT on the dense layers: what was asked for is there, together too, and folds back into the student."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.students.harness import some_rows, some_texts
from tfb2d.compress.dense import dense_model, features, tune, with_dense
from tfb2d.compress.quantised import quantised, quantised_form
from tfb2d.compress.student import dense_layers, with_tables
from tfb2d.config import CompressConfig, StudentConfig
from tfb2d.data.task import Task
from tfb2d.students.int8_table import quantise
from tfb2d.students.model import Student, load_student
from tfb2d.students.rows import HashedRows

SMALL = StudentConfig(buckets=997, dim=8, ffn=(16, 8), soft_buckets=101, max_tokens=64)
PAIR = Task(("query", "title"))
CONFIG = CompressConfig(epochs=1, batch_size=128, learning_rate=1e-2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> HashedRows:
    return some_rows(PAIR, tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def student() -> Student:
    whole = Student(PAIR, SMALL, 3)
    return with_tables(whole, {name: quantise(layer.table.numpy()) for name, layer in whole.embeddings.items()})


def kernels(student: Student) -> list[np.ndarray]:
    """The dense model's kernels; a pair's first layer is one again."""
    query, first, *others = (layer.kernel.numpy() for layer in dense_layers(student))
    return [np.concatenate([first, query]), *others]


def test_the_dense_model_is_the_students(student: Student, rows: HashedRows) -> None:
    hashes, _ = rows.batch(np.arange(50))
    model = dense_model(student)
    logits = model(features(student)(hashes)).numpy()
    np.testing.assert_allclose(logits, student.trunk(hashes).numpy(), atol=1e-5)
    again = with_dense(Student(PAIR, SMALL, 3), model.get_weights())
    for item, other in zip(kernels(student), kernels(again), strict=True):
        np.testing.assert_array_equal(item, other)


def test_pruned_clustered_and_quantised_at_once(student: Student, rows: HashedRows, tmp_path: Path) -> None:
    config = replace(CONFIG, sparsity=0.5, clusters=8, qat_epochs=1)
    made = tune(student, rows, config)
    record = made.compression["dense"]
    assert len(record["activations"]) == 3
    for kernel, scale in zip(kernels(made), record["kernel_scales"], strict=True):
        steps = kernel / scale
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        assert np.abs(steps).max() <= 127.001
    for kernel in kernels(made)[:-1]:
        assert np.mean(kernel == 0) >= 0.48
        assert len(np.unique(kernel)) <= 9
    assert all(low <= 0 < high for low, high in record["activations"])

    texts = [tf.constant(column) for column in some_texts(PAIR, 40)]
    made.save(tmp_path)
    loaded = load_student(tmp_path)
    assert loaded.compression == made.compression
    np.testing.assert_array_equal(loaded.model(texts).numpy(), made.model(texts).numpy())

    twin = tune(student, rows, config)
    for item, other in zip(kernels(made), kernels(twin), strict=True):
        np.testing.assert_array_equal(item, other)


def test_after_training_quantisation_changes_little(student: Student, rows: HashedRows) -> None:
    source = features(student)
    batches = [source(rows.batch(np.arange(128))[0])]
    model = quantised(dense_model(student), batches)
    weights, _ = quantised_form(model)
    hashes, _ = rows.batch(np.arange(128, 256))
    exact = student.trunk(hashes).numpy()
    spread = exact.std()
    assert np.abs(model(source(hashes)).numpy() - exact).max() < 0.2 * spread
    assert np.abs(with_dense(student, weights).trunk(hashes).numpy() - exact).max() < 0.2 * spread


def test_there_must_be_rows_to_read_ranges_from(student: Student) -> None:
    with pytest.raises(ValueError, match="no rows"):
        quantised(dense_model(student), [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "requested",
    [
        {"sparsity": 0.8},
        {"clusters": 4},
        {"qat_epochs": 2},
        {"sparsity": 0.5, "qat_epochs": 1},
        {"clusters": 8, "qat_epochs": 1},
    ],
    ids=str,
)
def test_each_and_in_pairs(student: Student, rows: HashedRows, requested: dict) -> None:
    made = tune(student, rows, replace(CONFIG, **requested))
    for kernel in kernels(made)[:-1]:
        if list(requested) == ["sparsity"]:  # to the weight, in a training of ten steps: TFMOT rounds half to even
            assert np.count_nonzero(kernel == 0) == round(kernel.size * requested["sparsity"])
        assert np.mean(kernel == 0) >= requested.get("sparsity", 0) - 0.02
        assert len(np.unique(kernel)) <= (requested.get("clusters") or kernel.size) + 1
    assert ("activations" in made.compression["dense"]) == ("qat_epochs" in requested)


def test_tfmot_leaves_the_environment_as_it_was() -> None:
    code = "import os; from tfb2d.compress import tfmot; tfmot.load(); print(os.environ.get('TF_USE_LEGACY_KERAS'))"
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "None"
