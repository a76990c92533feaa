"""The early exit: which texts take it, what it may cost, and that all forms of a student agree on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.students.harness import NEWS, SMALL, TEXT, some_rows, some_texts, strong_student
from tfb2d.config import ConfigError, StudentConfig
from tfb2d.data.task import Task
from tfb2d.evaluation.calibration import calibrate
from tfb2d.probability import one_column
from tfb2d.students import early_exit
from tfb2d.students.model import Student
from tfb2d.students.served import ServedStudent

SHAPE = replace(SMALL, window=2, convolutions=(1, 2), convolution_width=16, early_exit=0.05)


def half_exits(task: Task, shape: StudentConfig) -> tuple[Student, tf.Tensor, np.ndarray]:
    """Makes a student whose early exit half of some texts take; returns the texts and which of them do."""
    student = strong_student(task, shape)
    texts = tf.constant(some_texts(task, 60, 4)[0])
    assert student.exit is not None
    student.exit.set_weights(
        [np.float32(1.3), *[np.full(task.n_logits, x, np.float32) for x in (0.1, -0.2)], np.float32(0)]
    )
    cheap, _ = student.paths([student.tokens(texts)])
    margin = early_exit.margins(1.3 * cheap + 0.1).numpy()
    student.exit.threshold.assign(np.median(margin))
    return student, texts, margin >= np.float32(np.median(margin))


@pytest.mark.parametrize(
    ("task", "shape"), [(TEXT, replace(SHAPE, convolution_dim=5)), (NEWS, SHAPE)], ids=["binary", "multiclass"]
)
def test_certain_texts_get_the_cheap_logit_and_the_others_the_full_one(task: Task, shape: StudentConfig) -> None:
    student, texts, exits = half_exits(task, shape)
    assert 0.3 < exits.mean() < 0.7
    cheap, full = (logits.numpy() for logits in student.paths([student.tokens(texts)]))
    expected = np.where(exits[:, None], 1.3 * cheap + 0.1 + 0.2, full)
    assert np.abs(expected - full).max() > 0.01
    np.testing.assert_allclose(student.model([texts]).numpy(), expected, atol=1e-5)
    served = ServedStudent(student)
    np.testing.assert_allclose(served.logits([texts]).numpy(), expected, atol=1e-5)
    # A text alone is scored as in a batch, whichever way it takes.
    for at in (int(np.argmax(exits)), int(np.argmin(exits)), 0):
        np.testing.assert_allclose(served.logits([texts[at : at + 1]]).numpy(), expected[at : at + 1], atol=1e-5)
    for some in (exits, ~exits):  # batches of which all exit, or none
        np.testing.assert_allclose(served.logits([texts[some]]).numpy(), expected[some], atol=1e-5)
    assert served.logits([texts[:0]]).shape == (0, task.n_logits)


def test_a_new_student_lets_no_text_exit() -> None:
    student = strong_student(TEXT, SHAPE)
    texts = tf.constant(some_texts(TEXT)[0])
    _, full = student.paths([student.tokens(texts)])
    np.testing.assert_array_equal(student.model([texts]).numpy(), full.numpy())


def test_both_outputs_are_trained() -> None:
    student = Student(TEXT, SHAPE)
    hashes = student.tokens(tf.constant(["red shoe", "blue hat"]))
    with tf.GradientTape() as tape:
        logits = student.trunk([hashes], training=True)
        assert logits.shape == (4, 1)
        total = tf.reduce_sum(tf.square(logits))
    gradients = tape.gradient(total, student.trunk.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    full, cheap = tf.split(logits, 2)
    assert np.abs(full - cheap).max() > 0


@pytest.mark.parametrize("task", [TEXT, NEWS], ids=["binary", "multiclass"])
def test_fit_stays_within_the_loss_that_is_allowed(task: Task, tmp_path: Path) -> None:
    student = strong_student(task, SHAPE)
    rows = some_rows(task, tmp_path / "rows", 300, 2)
    rng = np.random.default_rng(0)
    cheap, full = (logits.numpy() for logits in student.paths(rows.batch(np.arange(300))[0]))
    # Labels that follow the full output, so that leaving by the cheap one costs something.
    labels = (full[:, 0] + rng.normal(0, 0.1, 300) > np.median(full)) if task.n_logits == 1 else full.argmax(1)
    labels = labels.astype(np.float64)
    shares = []
    for allowed in (1e-6, 0.02, 10.0):
        student.config = replace(SHAPE, early_exit=allowed)
        shares.append(early_exit.fit(student, rows, labels))
        ours, exits = student.exit.decide(tf.constant(cheap))
        assert np.mean(exits) == pytest.approx(shares[-1], abs=0.01)
        calibration = calibrate(task, labels, one_column(full))

        def loss(logits: np.ndarray, calibration=calibration) -> float:
            values = calibration.scale * logits + np.array(calibration.bias)
            return float(early_exit.row_losses(values.astype(np.float64), labels).mean())

        assert loss(np.where(exits[:, None], ours, full)) <= loss(full) + allowed + 1e-5
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 1.0


def test_the_threshold_keeps_equal_margins_together() -> None:
    margin = np.array([3.0, 2.0, 2.0, 1.0])
    assert early_exit.lowest_margin(margin, np.array([0.0, 0.0, 4.0, 0.0]), 0.5) == 3.0
    assert early_exit.lowest_margin(margin, np.array([4.0, 0.0, 0.0, 0.0]), 0.5) == early_exit.NEVER
    assert early_exit.lowest_margin(margin, np.array([0.0, 0.0, 0.0, 1.0]), 0.5) == 1.0
    assert early_exit.lowest_margin(margin[:0], margin[:0], 0.5) == early_exit.NEVER


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 2}, "early_exit goes with student.convolutions"),
        ({"early_exit": -1.0}, "early_exit is -1.0; it must be 0 or more"),
        ({"early_exit": 0.0, "convolution_dim": 8}, "convolution_dim goes with student.convolutions"),
        ({"convolution_dim": -8}, "convolution_dim is -8; it must be 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudentConfig(**{"early_exit": 0.1, **settings})  # type: ignore[arg-type]
