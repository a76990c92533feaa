import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import keras_hub
import numpy as np
import pytest

from tests.teachers.harness import PAIR
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers.models import build_classifier, locate
from tfb2d.teachers.teacher import Teacher, load_teacher


def build(preset: Path | str, **settings: int) -> Teacher:
    config = TeacherConfig(preset=str(preset), **{"max_length": 16, **settings})
    return Teacher(build_classifier(config, 1), PAIR, config.max_length)


def test_layers_keeps_the_first_ones(encoder: Callable[[str], Path]) -> None:
    whole, cut = build(encoder("bert")), build(encoder("bert"), layers=1)
    assert cut.model.backbone.num_layers == 1
    for name in ("token_embedding", "transformer_layer_0", "pooled_dense"):
        kept, first = (t.model.backbone.get_layer(name).get_weights() for t in (cut, whole))
        assert all((a == b).all() for a, b in zip(kept, first, strict=True))
    with pytest.raises(ConfigError, match=r"layers is 5; .*2 layers"):
        build(encoder("bert"), layers=5)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no 'bert_smal_en_uncased'; did you mean 'bert_small_en_uncased'.*Hugging Face"
    ):
        locate("bert_smal_en_uncased")
    assert locate("electra_small_discriminator_uncased_en")
    assert locate("hf://user/model") == "hf://user/model"


def test_a_folder_that_is_no_preset(tmp_path: Path, encoder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "architectures": ["Mamba"]}')
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*mamba"):
        build(tmp_path)
    broken = shutil.copytree(encoder("bert"), tmp_path / "broken")
    (broken / "model.weights.h5").write_bytes(b"cut short")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        build(broken)


def test_a_quantised_encoder_is_refused(encoder: Callable[[str], Path], tmp_path: Path) -> None:
    """Its last layer would be quantised, too (KerasHub), and what is int8 cannot be trained."""
    folder = str(encoder("bert"))
    classifier = keras_hub.models.TextClassifier.from_preset(folder, num_classes=2, preprocessor=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each layer that has no int8 form
        classifier.quantize("int8")
    classifier.save_to_preset(str(tmp_path / "quantised"))
    with pytest.raises(ConfigError, match="holds a quantised encoder"):
        build(tmp_path / "quantised")


def test_a_row_may_not_be_longer_than_the_encoder_can_take(encoder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"max_length is 64; .* takes 32 tokens"):
        build(encoder("bert"), max_length=64)


def test_columns_must_be_the_tasks(teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="1 columns of text for a task of 2"):
        teacher.logits([["red"]])
    with pytest.raises(ValueError, match="different lengths"):
        teacher.logits([["red"], ["blue", "hat"]])
    assert teacher.logits([[], []]).shape == (0, 1)


def test_a_folder_without_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no teacher\.json"):
        load_teacher(tmp_path)


def test_the_real_encoder(minilm: Path) -> None:
    config = TeacherConfig(preset=str(minilm), layers=2, max_length=64)
    teacher = Teacher(build_classifier(config, 1), Task(("text",)), 64)
    assert teacher.mask_token == "[MASK]"
    for kind in ("tokens", "contextual"):
        cat, dog, bond = teacher.word_vectors(["cat", "dog", "bonds"], kind)
        assert cat @ dog / np.linalg.norm(dog) > cat @ bond / np.linalg.norm(bond)
    whole = teacher.word_vectors(["unbelievableness"])
    ids, lengths = teacher.packer.tokenize(["unbelievableness"])
    assert lengths[0] > 1
    table = teacher.model.backbone.token_embedding.get_weights()[0]
    assert np.allclose(whole[0], table[ids].mean(0), atol=1e-6)
