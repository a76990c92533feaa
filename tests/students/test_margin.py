from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import Config, ConfigError, DataConfig, StudentConfig, TeacherConfig, TrainingConfig
from tfb2d.data.task import Task
from tfb2d.students.hashing import hash_rows
from tfb2d.students.margin import margin_loss, paired_batches, query_keys
from tfb2d.students.model import Student
from tfb2d.students.steps import soft_cross_entropy
from tfb2d.students.training import Trainer


def test_margin_loss() -> None:
    targets = tf.constant([[0.9], [0.5], [0.2], [0.5], [0.7]])
    logits = tf.constant([[1.0], [0.5], [3.0], [-1.0], [9.0]])
    queries = tf.ragged.constant([[7, 2], [2, 7], [5], [6], [6]], dtype=tf.int64)
    expected = ((1.0 - 0.5) - np.log(0.9 / 0.1)) ** 2  # rows 2 and 3 have other queries, row 4 no neighbour
    assert margin_loss(targets, logits, queries).numpy() == pytest.approx(expected, rel=1e-5)
    sure = tf.constant([[0.0], [1.0]])
    assert np.isfinite(margin_loss(sure, logits[:2], queries[:2]).numpy())
    assert margin_loss(targets[1:3], logits[1:3], queries[1:3]).numpy() == 0


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 5), st.integers(0, 3))
def test_every_row_comes_once_and_neighbours_share_a_query(keys: list[int], half: int, skip: int) -> None:
    array, size = np.array(keys, np.int64), 2 * half
    batches = list(paired_batches(array, size, (0, 1)))
    rows = np.concatenate([np.zeros(0, np.int64), *batches])
    assert sorted(rows) == list(range(len(keys)))
    assert all(len(batch) == size for batch in batches[:-1])
    pairs = rows[: len(rows) // 2 * 2].reshape(-1, 2)
    apart = sum(keys[a] != keys[b] for a, b in pairs)
    assert apart <= len(set(keys))  # at most one pair a query has to take the next query's row
    later = list(paired_batches(array, size, (0, 1), skip))
    assert [batch.tolist() for batch in later] == [batch.tolist() for batch in batches[skip:]]


def test_the_order_is_another_one_each_epoch() -> None:
    keys = np.repeat(np.arange(20), 5)
    first, second = (np.concatenate(list(paired_batches(keys, 10, (0, epoch)))) for epoch in (0, 1))
    assert first.tolist() != second.tolist()


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        TrainingConfig(margin_weight=-1)
    with pytest.raises(ConfigError, match="even"):
        TrainingConfig(margin_weight=1, batch_size=3)
    with pytest.raises(ConfigError, match="takes pairs"):
        Config(data=DataConfig(), teachers={"a": TeacherConfig("p")}, training=TrainingConfig(margin_weight=1))


@pytest.mark.slow
def test_the_loss_of_training_holds_the_margins_of_neighbours(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    queries = np.array([f"query{i % 7}" for i in range(41)], object)
    titles = np.array([f"word{draw.integers(9)} word{draw.integers(9)}" for _ in queries], object)
    targets = draw.random((41, 1)).astype(np.float32)
    task = Task(("query", "title"))
    shape = StudentConfig(buckets=97, dim=4, ffn=(8,), soft_buckets=31, dropout=0, ngram_dropout=0)
    rows = hash_rows([queries, titles], targets, tmp_path / "rows", 16)
    still = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-12, table_learning_rate=1e-12, margin_weight=2.0)
    trainer = Trainer(Student(task, shape, 3), rows, rows, still, tmp_path)
    trainer.fit(progress=False)
    logits, expected = trainer.logits(rows), []
    for batch in paired_batches(query_keys(rows), 16, (0, 0)):
        (query, _), learnt = rows.batch(batch)
        margin = margin_loss(learnt, logits[batch], query)
        assert margin > 0
        expected.append(float(soft_cross_entropy(learnt, logits[batch]) + 2 * margin))
    assert trainer.history[0]["loss"] == pytest.approx(np.mean(expected), rel=1e-4)
