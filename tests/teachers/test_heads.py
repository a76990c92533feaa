"""A classifier that was saved with an activation on its head gives logits all the same; each family: test_families.py."""

from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

from tests.teachers.harness import SINGLE
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.teachers.models import build_classifier, head_activation, linear_head
from tfb2d.teachers.teacher import Teacher, load_teacher

Encoder = Callable[[str], Path]


def classifier_of(encoder: Path, activation: str = "") -> keras_hub.models.TextClassifier:
    """Loads a KerasHub classifier of two classes; some families take no activation."""
    own = {"activation": activation} if activation else {}
    return keras_hub.models.TextClassifier.from_preset(str(encoder), num_classes=2, **own)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "tanh", "relu"])
def test_a_linear_head_has_the_same_weights(activation: str, encoder: Encoder) -> None:
    classifier = classifier_of(encoder("bert"), activation)
    classifier.preprocessor = None  # inputs are token ids
    inputs = {name: np.ones((2, 8), "int32") * [[0], [1]] for name in classifier.input}
    before = classifier.predict_on_batch(inputs)
    weights = [value.copy() for value in classifier.output_dense.get_weights()]
    linear_head(classifier)
    logits = keras.Model(classifier.input, classifier.output).predict_on_batch(inputs)
    assert np.abs(keras.ops.convert_to_numpy(getattr(keras.ops, activation)(logits)) - before).max() < 1e-6
    assert all((a == b).all() for a, b in zip(weights, classifier.output_dense.get_weights(), strict=True))
    assert classifier.get_config()["activation"] == "linear"


def test_a_cut_encoder_has_a_linear_head_too(encoder: Encoder, tmp_path: Path) -> None:
    classifier_of(encoder("bert"), "sigmoid").save_to_preset(str(tmp_path / "classifier"))
    config = TeacherConfig(preset=str(tmp_path / "classifier"), max_length=16, layers=1)
    assert head_activation(build_classifier(config, 3)) == "linear"


def test_a_teacher_that_learnt_through_an_activation_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    classifier = classifier_of(encoder("bert"), "sigmoid")
    Teacher(classifier, SINGLE, 16).save(tmp_path / "teacher", {"preset": "tiny"})
    with pytest.raises(ConfigError, match=r"on the output of sigmoid.*fine-tune it again"):
        load_teacher(tmp_path / "teacher")


def test_a_classifier_that_ends_otherwise_is_refused(encoder: Encoder) -> None:
    classifier = classifier_of(encoder("bert"))

    class Scaled(keras_hub.models.BertTextClassifier):
        @property
        def layers(self) -> list:
            return [*super().layers, keras.layers.Rescaling(2.0, name="scaled")]

    scaled = Scaled(classifier.backbone, 1, classifier.preprocessor)
    with pytest.raises(ConfigError, match="Scaled ends in 'scaled'"):
        linear_head(scaled)
