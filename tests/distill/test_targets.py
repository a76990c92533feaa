"""Logits become targets: stacking, temperature, labels mixed in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfb2d.config import ConfigError, DistillConfig
from tfb2d.data.task import Task
from tfb2d.distill.stack import fit_stack, one_hot, probabilities
from tfb2d.distill.targets import fit, hard_targets, soft_targets, stacked_logits
from tfb2d.outcomes import Stack

BINARY = Task(("text",))
THREE = Task(("text",), "multiclass", ("a", "b", "c"))
finite = st.floats(-50, 50, width=32)


@given(hnp.arrays(np.float32, (5, 3), elements=finite), st.floats(0.5, 20))
def test_probabilities_are_softmax_at_temperature(logits: np.ndarray, temperature: float) -> None:
    out = probabilities(logits, temperature)
    z = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64) / temperature)
    np.testing.assert_allclose(out, z / z.sum(1, keepdims=True), atol=1e-6)


@given(hnp.arrays(np.float32, (7, 1), elements=finite), st.floats(0.5, 20))
def test_one_logit_is_a_sigmoid(logits: np.ndarray, temperature: float) -> None:
    expected = 1 / (1 + np.exp(-logits.astype(np.float64) / temperature))
    np.testing.assert_allclose(probabilities(logits, temperature), expected, atol=1e-6)


def test_mean_and_weighted() -> None:
    logits = np.array([[[1.0], [3.0]], [[0.0], [-2.0]]])
    assert fit_stack(DistillConfig(), logits, None)(logits).tolist() == [[2.0], [-1.0]]
    weighted = DistillConfig(stack="weighted", weights=(3.0, 1.0))
    assert fit_stack(weighted, logits, None)(logits).tolist() == [[1.5], [-0.5]]


def test_a_missing_logit_is_left_to_the_others() -> None:
    stack = Stack((0.5, 0.5), (0.0,))
    out = stack(np.array([[[1.0], [np.nan]], [[np.nan], [np.nan]]]))
    assert out[0, 0] == 1.0
    assert np.isnan(out[1, 0])


@pytest.mark.parametrize("k", [1, 3])
def test_logistic_stacking_trusts_the_better_teacher(k: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(2, k), 4000).astype(np.float64)
    truth = one_hot(labels, k) * 4 - 2
    good, bad = truth + rng.normal(size=truth.shape), truth + 8 * rng.normal(size=truth.shape)
    logits = np.stack([good, bad], 1)
    stack = fit_stack(DistillConfig(stack="logistic"), logits, labels)
    assert stack.weights[0] > 3 * stack.weights[1] >= 0
    right = lambda z: np.mean((z[:, 0] > 0) == (labels > 0.5)) if k == 1 else np.mean(z.argmax(1) == labels)  # noqa: E731
    assert right(stack(logits)) >= right(logits.mean(1))


def test_logistic_stacking_needs_scored_validation_rows() -> None:
    with pytest.raises(ConfigError, match="validation rows that every teacher scored"):
        fit_stack(DistillConfig(stack="logistic"), np.full((3, 2, 1), np.nan), np.ones(3))


def table(folder: Path, sizes: list[int], **columns: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    start = 0
    for part, size in enumerate(sizes):
        cut = {name: values[start : start + size] for name, values in columns.items()}
        pq.write_table(pa.table(cut), folder / f"part-{part:05d}.parquet")
        start += size
    return folder


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_tables_of_other_part_sizes_are_read_side_by_side(tmp_path: Path, rows: int) -> None:
    texts = np.array([f"t{i}" for i in range(11)], object)
    labels = np.array([1, 0, np.nan] * 3 + [1, 0], np.float32)
    first, second = np.arange(11, dtype=np.float32) - 5, np.full(11, np.nan, np.float32)
    second[:2] = 9.0
    data = table(tmp_path / "data", [5, 6], text=texts, label=labels)
    folders = [table(tmp_path / "x", [3, 3, 5], logit=first), table(tmp_path / "y", [11], logit=second)]
    config = DistillConfig(temperature=2.0, hard_weight=0.25)
    stack = fit(config, folders, BINARY, None)
    targets = soft_targets(data, folders, BINARY, stack, config, rows)
    soft = 1 / (1 + np.exp(-np.where(np.isnan(second), first, (first + second) / 2) / 2.0))
    expected = np.where(np.isnan(labels), soft, 0.75 * soft + 0.25 * labels)
    np.testing.assert_allclose(targets[:, 0], expected, atol=1e-6)
    assert stacked_logits(folders, BINARY, stack).shape == (11, 1)


def test_labels_as_targets(tmp_path: Path) -> None:
    labels = np.array([0, 2, np.nan], np.float32)
    data = table(tmp_path / "data", [3], text=np.array(["a", "b", "c"], object), label=labels)
    np.testing.assert_array_equal(hard_targets(data, THREE), [[1, 0, 0], [0, 0, 1], [np.nan] * 3])
