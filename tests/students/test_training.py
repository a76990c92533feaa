"""Training: the table optimizer against plain NumPy, the order of rows, and a loop that can be stopped anywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given
from hypothesis import strategies as st

from tests.students.harness import SHAPES, some_rows, some_texts
from tfb2d.atomic import read_json
from tfb2d.config import StudentConfig, TrainingConfig
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.evaluation.headline import Headline
from tfb2d.processor import multiplies_bfloat16
from tfb2d.students import hashing
from tfb2d.students import rows as rows_module
from tfb2d.students.hashing import hash_rows
from tfb2d.students.model import Student
from tfb2d.students.optimizer import RowWiseAdagrad
from tfb2d.students.rows import TrainingRows, epoch_batches
from tfb2d.students.steps import soft_cross_entropy
from tfb2d.students.training import Trainer

TEXT = Task(("text",))
TINY = StudentConfig(buckets=97, dim=4, ffn=(8,), max_tokens=16)
TRAINING = TrainingConfig(epochs=3, batch_size=32, table_learning_rate=0.2, learning_rate=1e-2, checkpoint_seconds=0.0)


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    """Ten batches of 32 rows, the last one short."""
    return some_rows(TEXT, tmp_path_factory.mktemp("rows"), 310)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    return some_rows(TEXT, tmp_path_factory.mktemp("valid"), 64, 1)


@pytest.fixture(scope="module")
def opposite(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    """Rows of what is learnt, with the labels turned round: the more is learnt, the worse they are met."""
    texts = some_texts(TEXT, 310)
    labels = np.array([[len(text.split()) <= 6] for text in texts[0]], np.float32)
    return hash_rows([np.array(texts[0], object)], labels, tmp_path_factory.mktemp("opposite"), 64)


def trainer(rows: TrainingRows, valid: TrainingRows, config: TrainingConfig, out: Path) -> Trainer:
    """A trainer with a student of its own, always the same at the start."""
    return Trainer(Student(TEXT, TINY, 3), rows, valid, config, out)


class Ending(TrainingRows):
    """The same rows, for so many training steps: the next batch raises."""

    def __init__(self, rows: TrainingRows, steps: int) -> None:
        super().__init__(rows.rows, rows.targets, rows.index)
        self.left = steps

    def batch(self, index: np.ndarray) -> tuple[list[tf.RaggedTensor], tf.Tensor]:
        if not self.left:
            raise StoppedError
        self.left -= 1
        return super().batch(index)


def assert_same_weights(item: Trainer, other: Trainer) -> None:
    for mine, theirs in zip(item.student.trunk.weights, other.student.trunk.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def timeless(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in figures.items() if name != "seconds"} for figures in history]


def loss_on(item: Trainer, rows: TrainingRows) -> float:
    return float(soft_cross_entropy(tf.constant(rows.targets), tf.constant(item.logits(rows))))


def test_row_wise_adagrad_is_what_numpy_computes() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(7, 3)).astype(np.float32)
    table, accumulator = tf.Variable(expected), np.full(7, 1e-12)
    optimizer = RowWiseAdagrad([table], tf_keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0))
    untouched = expected[[1, 4]].copy()
    for step, indices in enumerate([[0, 3, 0, 6, 0], [6], [5, 5, 2, 3]]):
        values = rng.normal(size=(len(indices), 3)).astype(np.float32)
        total = np.zeros((7, 3), np.float32)
        np.add.at(total, indices, values)
        accumulator += (total**2).mean(1)
        expected = expected - 0.1 / (1 + step) * total / np.sqrt(accumulator)[:, None]
        optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(indices, tf.int64))])
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(optimizer.accumulators[0].numpy(), accumulator, rtol=1e-5)
    np.testing.assert_array_equal(table.numpy()[[1, 4]], untouched)
    assert int(optimizer.step) == 3


@pytest.mark.parametrize("shape", ["pair", "lettered"])
def test_only_tables_have_sparse_gradients(shape: str, tmp_path: Path) -> None:
    # tf_keras' Adam trains the rest: with sparse gradients it would also move rows that a batch does not read.
    task, config = SHAPES[shape]
    student = Student(task, config)
    hashes, targets = some_rows(task, tmp_path, 64, config=config).batch(np.arange(64))
    with tf.GradientTape() as tape:
        loss = soft_cross_entropy(targets, student.trunk(hashes, training=True))
    tables, others = tape.gradient(loss, [student.tables, student.dense_weights])
    assert {type(gradient) for gradient in tables} == {tf.IndexedSlices}
    assert not [gradient for gradient in others if isinstance(gradient, tf.IndexedSlices)]


@given(
    n=st.integers(0, 200),
    size=st.integers(1, 70),
    skip=st.integers(0, 12),
    block=st.integers(1, 40),
    group=st.integers(1, 5),
    shuffled=st.booleans(),
)
def test_an_epoch_has_every_row_once_and_goes_on_where_it_stopped(
    n: int, size: int, skip: int, block: int, group: int, shuffled: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "BLOCK", block)
        patch.setattr(rows_module, "GROUP", group)
        seed = (5, 2) if shuffled else None
        whole = list(epoch_batches(n, size, seed))
        assert sorted(np.concatenate([np.zeros(0, np.int64), *whole]).tolist()) == list(range(n))
        assert [len(batch) for batch in whole] == [size] * (n // size) + ([n % size] if n % size else [])
        assert [batch.tolist() for batch in epoch_batches(n, size, seed, skip)] == [b.tolist() for b in whole[skip:]]
        if not shuffled:
            assert np.concatenate([np.zeros(0, np.int64), *whole]).tolist() == list(range(n))


def test_another_seed_or_epoch_is_another_order() -> None:
    n = 3 * rows_module.BLOCK + 17  # more than a block, the last one short
    orders = [np.concatenate(list(epoch_batches(n, 500, seed))) for seed in ((0, 0), (0, 0), (0, 1), (1, 0))]
    np.testing.assert_array_equal(orders[0], orders[1])
    for item, other in ((0, 2), (0, 3), (2, 3)):
        assert (orders[item] == orders[other]).mean() < 0.1


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    texts = np.array(["red shoe", "blue hat", "", "a b c d", "red shoe"], object)
    targets = np.array([[0.1], [np.nan], [0.3], [0.4], [0.1]], np.float32)
    actual = hash_rows([texts], targets, tmp_path, 3)
    assert actual.n == 4
    np.testing.assert_array_equal(actual.targets[:, 0], targets[[0, 2, 3, 0], 0])
    (ragged,), batch = actual.batch(np.array([2, 0, 1]))
    assert ragged.row_lengths().numpy().tolist() == [3, 2, 0]
    np.testing.assert_array_equal(batch.numpy(), targets[[3, 0, 2]])
    np.testing.assert_array_equal(actual.batch(np.array([0, 3]))[0][0][0], actual.batch(np.array([3]))[0][0][0])


def test_batches_that_are_hashed_side_by_side_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first batch takes longest, so that others end before it.
    texts = np.array(["w " * 90_000] * 3 + [f"b{i} w{i}" for i in range(117)], object)
    whole = hash_rows([texts], np.zeros((120, 1), np.float32), tmp_path / "whole", 8)
    monkeypatch.setattr(hashing, "BATCH_ROWS", 3)
    side_by_side = hash_rows([texts], np.zeros((120, 1), np.float32), tmp_path / "side_by_side", 8)
    for item, other in zip(side_by_side.fields, whole.fields, strict=True):
        for array, expected in zip(item, other, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_no_row_to_learn_from_is_said(tmp_path: Path) -> None:
    texts = np.array(["red shoe", "blue hat"], object)
    for targets in (np.full((2, 1), np.nan, np.float32), np.array([[0.5, np.nan]] * 2, np.float32)):
        with pytest.raises(DataError, match="no row to learn from"):
            hash_rows([texts], targets, tmp_path, 8)
    with pytest.raises(DataError, match="no row to learn from"):
        hash_rows([texts[:0]], np.zeros((0, 1), np.float32), tmp_path, 8)


@pytest.fixture(scope="module")
def whole(rows: TrainingRows, valid: TrainingRows, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A training that nobody stopped."""
    item = trainer(rows, valid, TRAINING, tmp_path_factory.mktemp("whole"))
    item.fit(progress=False)
    assert item.history[-1]["loss"] < item.history[0]["loss"]
    return item


@pytest.mark.parametrize(
    ("stops", "checkpoint_seconds"),
    [((4,), 0.0), ((10, 13), 0.0), ((0, 29), 0.0), ((14,), 1e9)],
    ids=["within an epoch", "twice", "before the first and the last step", "between checkpoints"],
)
def test_stopped_and_taken_up_again_it_ends_with_the_same_weights(
    rows: TrainingRows, valid: TrainingRows, whole: Trainer, stops: tuple, checkpoint_seconds: float, tmp_path: Path
) -> None:
    config = replace(TRAINING, checkpoint_seconds=checkpoint_seconds)
    for steps in stops:
        with pytest.raises(StoppedError):
            trainer(Ending(rows, steps), valid, config, tmp_path).fit(progress=False)
    left = 30 - (sum(stops) if checkpoint_seconds == 0 else 10)
    last = trainer(Ending(rows, left), valid, config, tmp_path)  # it does what was left, and no step more
    history = last.fit(progress=False)
    assert_same_weights(last, whole)
    assert timeless(history) == timeless(whole.history)
    assert read_json(tmp_path / "history.json") == history


def test_a_finished_training_is_taken_over_as_it_is(rows: TrainingRows, valid: TrainingRows, whole: Trainer) -> None:
    again = trainer(Ending(rows, 0), valid, TRAINING, whole.out)
    assert again.fit(progress=False) == whole.history
    assert_same_weights(again, whole)


def test_patience_ends_a_training_that_gets_no_better(
    rows: TrainingRows, opposite: TrainingRows, tmp_path: Path
) -> None:
    config = replace(TRAINING, epochs=9, patience=2)
    item = trainer(rows, opposite, config, tmp_path)
    losses = [figures["valid_loss"] for figures in item.fit(progress=False)]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 9
    assert loss_on(item, opposite) == pytest.approx(losses[best], rel=1e-6)
    assert losses[-1] > losses[best]

    again = trainer(Ending(rows, 0), opposite, config, tmp_path)
    assert [figures["valid_loss"] for figures in again.fit(progress=False)] == losses
    assert_same_weights(item, again)


@pytest.mark.parametrize("measure", ["roc_auc", "f1"])
def test_patience_follows_the_headline_measure(
    measure: str, rows: TrainingRows, opposite: TrainingRows, tmp_path: Path
) -> None:
    config = replace(TRAINING, epochs=9, patience=2)
    headline = Headline(TEXT, measure, opposite.targets[:, 0].astype(np.float64))
    item = Trainer(Student(TEXT, TINY, 3), rows, opposite, config, tmp_path, headline)
    history = item.fit(progress=False)
    orders = [(figures[f"valid_{measure}"], -figures["valid_loss"]) for figures in history]
    best = max(range(len(history)), key=orders.__getitem__)
    assert len(history) == best + 1 + 2 < 9
    assert headline.figures(item.logits(opposite))[f"valid_{measure}"] == pytest.approx(orders[best][0], abs=1e-6)


def test_patience_outlives_a_stop(rows: TrainingRows, opposite: TrainingRows, tmp_path: Path) -> None:
    config = replace(TRAINING, epochs=9, patience=2)
    expected = trainer(rows, opposite, config, tmp_path / "whole")
    expected.fit(progress=False)
    with pytest.raises(StoppedError):
        trainer(Ending(rows, 17), opposite, config, tmp_path / "stopped").fit(progress=False)
    last = trainer(rows, opposite, config, tmp_path / "stopped")
    assert timeless(last.fit(progress=False)) == timeless(expected.history)
    assert_same_weights(last, expected)


@pytest.mark.parametrize("rate", ["learning_rate", "table_learning_rate"])
def test_a_loss_that_is_no_number_is_an_error(
    rows: TrainingRows, valid: TrainingRows, rate: str, tmp_path: Path
) -> None:
    config = replace(TRAINING, **{rate: 1e37})
    for _ in range(2):  # nor does the next try take over what diverged
        with pytest.raises(FloatingPointError, match=r"training\.learning_rate"):
            trainer(rows, valid, config, tmp_path).fit(progress=False)


def test_products_in_bfloat16_lead_to_nearly_the_same_weights(
    rows: TrainingRows, valid: TrainingRows, whole: Trainer, tmp_path: Path
) -> None:
    mixed = trainer(rows, valid, replace(TRAINING, mixed_precision=True), tmp_path)
    mixed.fit(progress=False)
    pairs = list(zip(mixed.steps.weights().values(), whole.steps.weights().values(), strict=True))
    assert all(one.dtype == other.dtype for one, other in pairs)  # weights stay float32
    assert any((one != other).any() for one, other in pairs) == multiplies_bfloat16()
    assert loss_on(mixed, valid) == pytest.approx(loss_on(whole, valid), abs=0.02)
    options = tf.config.optimizer.get_experimental_options()
    assert not options.get("auto_mixed_precision_onednn_bfloat16")  # later graphs are exact again
