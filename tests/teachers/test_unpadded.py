"""The forward pass without padding, beside KerasHub's own."""

from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

from tests.teachers.harness import PAIR, phrases
from tfb2d.teachers.steps import forward
from tfb2d.teachers.teacher import Teacher
from tfb2d.teachers.unpadded import UnpaddedForward, can_skip_padding

QUERIES, TITLES = ["", *phrases(60, 1, 3)], ["", *phrases(60, 2, 20)]


def logits_of(classifier: keras_hub.models.TextClassifier) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logits of the same batches from a teacher, which skips padding, and from KerasHub's own pass."""
    teacher = Teacher(classifier, PAIR, 32)
    packed = teacher.pack([QUERIES, TITLES])
    expected = np.empty((len(packed), 1), np.float32)
    padded = forward(teacher.model)
    for rows in teacher.packer.batches(packed, 256):
        expected[rows] = padded(teacher.packer.pad(packed, rows))
    return teacher.logits_of(packed, 256), expected


def classifier_of(preset: Path, dtype: str, seed: int = 3) -> keras_hub.models.TextClassifier:
    """Returns a tiny classifier whose weights, biases and norms included, are far from those that layers start with."""
    classifier = keras_hub.models.TextClassifier.from_preset(str(preset), num_classes=1, dtype=dtype)
    rng = np.random.default_rng(seed)
    for weight in classifier.weights:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    classifier.output_dense.dtype_policy = keras.DTypePolicy("float32")
    return classifier


@pytest.mark.parametrize("family", ["bert", "roberta"])  # test_families.py holds the others against KerasHub
def test_logits_are_those_of_keras_hub(family: str, encoder: Callable[[str], Path]) -> None:
    """In float32 to 1e-5. In bfloat16 both are rounded, and the float32 logits lie as near to one as to the other."""
    classifier = classifier_of(encoder(family), "float32")
    assert can_skip_padding(classifier)
    logits, exact = logits_of(classifier)
    assert logits.std(0).min() > 0.05
    assert np.abs(logits - exact).max() < 1e-5
    if family == "bert":
        logits, expected = logits_of(classifier_of(encoder(family), "mixed_bfloat16"))
        assert 0 < np.abs(logits - exact).mean() < 1.2 * np.abs(expected - exact).mean()
        assert np.abs(logits - expected).max() < 0.1 * exact.std()


def test_a_pass_keeps_the_weights_that_the_model_had(encoder: Callable[[str], Path]) -> None:
    teacher = Teacher(classifier_of(encoder("bert"), "float32"), PAIR, 32)
    packed = teacher.pack([QUERIES, TITLES])
    inputs = teacher.packer.pad(packed, np.arange(len(packed)))
    unpadded = UnpaddedForward(teacher.model)
    compute = unpadded.with_present_weights()
    before = compute(inputs)
    for weight in teacher.model.backbone.transformer_layers[0].weights:
        weight.assign(weight * 1.5)
    assert (compute(inputs) == before).all()
    after = unpadded.with_present_weights()(inputs)
    assert np.abs(after - before).max() > 1e-2
    assert np.abs(teacher.logits_of(packed) - after).max() < 1e-5  # labelling reads them afresh in each call


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")  # Keras, of each layer without kernels
def test_a_quantised_encoder_computes_its_own_pass(encoder: Callable[[str], Path]) -> None:
    quantised = classifier_of(encoder("bert"), "float32")
    assert can_skip_padding(quantised)
    quantised.backbone.quantize("int8")
    assert not can_skip_padding(quantised)
