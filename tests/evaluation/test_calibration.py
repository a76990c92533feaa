import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from tests.evaluation.harness import seeds
from tfb2d.evaluation.calibration import calibrate
from tfb2d.evaluation.metrics import log_losses, metrics
from tfb2d.outcomes import Calibration


def test_it_finds_the_scale_and_the_bias() -> None:
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=20_000)
    labels = generator.random(20_000) < expit(0.5 * logits - 0.7)
    fitted = calibrate("binary", labels, logits)
    assert fitted.scale == pytest.approx(0.5, abs=0.03)
    assert fitted.bias == pytest.approx([-0.7], abs=0.05)
    assert metrics("binary", labels, fitted.apply(logits))["ece"] < 0.02
    assert fitted.note == ""


def test_grades_are_matched_exactly() -> None:
    logits = np.linspace(-4, 4, 500)
    fitted = calibrate("graded", expit(1.5 * logits + 0.4), logits[:, None])
    assert (fitted.scale, *fitted.bias) == pytest.approx((1.5, 0.4), abs=0.02)


def test_many_classes() -> None:
    generator = np.random.default_rng(1)
    logits = 3 * generator.normal(size=(20_000, 3))
    truth = softmax(0.4 * logits + [0.5, 0, -0.5], axis=1)
    labels = (truth.cumsum(1) < generator.random((20_000, 1))).sum(1)
    fitted = calibrate("multiclass", labels, logits)
    assert fitted.scale == pytest.approx(0.4, abs=0.03)
    assert np.diff(fitted.bias) == pytest.approx([-0.5, -0.5], abs=0.08)
    assert fitted.apply(logits) == pytest.approx(truth, abs=0.03)


@settings(max_examples=40)
@given(seeds, st.integers(1, 60), st.floats(0.01, 100), st.sampled_from(["binary", "graded", "multiclass"]))
def test_it_never_makes_matters_worse(seed: int, rows: int, spread: float, kind: str) -> None:
    generator = np.random.default_rng(seed)
    shape = (rows, 3) if kind == "multiclass" else (rows,)
    logits = spread * generator.normal(size=shape)
    labels = generator.random(rows) if kind == "graded" else generator.integers(0, 3 if len(shape) == 2 else 2, rows)
    fitted = calibrate(kind, labels, logits)
    scores = fitted.apply(logits)
    assert np.isfinite([fitted.scale, *fitted.bias]).all()
    assert fitted.scale > 0
    before, after = (
        log_losses(kind, np.asarray(labels, float), each).sum() for each in (Calibration().apply(logits), scores)
    )
    assert after <= before + 1e-6
    if len(shape) == 1:
        assert (np.diff(scores[np.argsort(logits)]) >= 0).all()


def test_separated_classes_stay_finite() -> None:
    fitted = calibrate("binary", [0, 0, 1, 1], [-2.0, -1, 1, 2])
    assert 1 < fitted.scale < 5
    assert fitted.bias == pytest.approx([0], abs=1e-4)


@pytest.mark.parametrize("labels", [[], [1, 1, 1], [0], [0.5, 0.5]])
def test_labels_that_say_nothing_leave_scores_alone(labels: list) -> None:
    logits = np.linspace(-1, 1, len(labels))
    fitted = calibrate("graded", labels, logits)
    assert fitted == Calibration(1.0, (0.0,), fitted.note)
    assert "scores are left as they are" in fitted.note
    assert fitted.apply(logits) == pytest.approx(expit(logits))


def test_a_missing_class() -> None:
    fitted = calibrate("multiclass", [0, 1, 0, 1], np.eye(4)[[0, 1, 0, 1]])
    assert len(fitted.bias) == 4
    assert max(fitted.bias[2:]) < min(fitted.bias[:2])
    assert calibrate("multiclass", [2, 2], np.zeros((2, 3))).bias == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "labels", "logits", "message"),
    [
        ("binary", [0, 1], [1.0], r"labels \[2\] and logits \[1\]"),
        ("multiclass", [0, 1], [1.0, 2.0], "logits"),
        ("binary", [0, 1], [1.0, np.inf], "finite"),
        ("binary", [0, np.nan], [1.0, 2.0], "NaN label"),
    ],
)
def test_arrays_that_do_not_fit(kind: str, labels: list, logits: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate(kind, labels, logits)
