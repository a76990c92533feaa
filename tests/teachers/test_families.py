"""Every encoder family, for real: packed, fine-tuned, saved, read back."""

from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

from tests.teachers.harness import FAMILIES, PAIR, write_pairs
from tfb2d.config import TeacherConfig
from tfb2d.teachers.fine_tune import fine_tune
from tfb2d.teachers.models import head_activation
from tfb2d.teachers.teacher import load_teacher
from tfb2d.teachers.unpadded import can_skip_padding

QUERIES = ["red shoe", "the {} hat", "", "blue film"]
UNPADDED = ("bert", "roberta", "distil_bert", "electra", "xlm_roberta")
TITLES = ["the red shoe", "x", "good film " * 20, "poor"]


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, encoder: Callable[[str], Path], tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", rows=32, valid_rows=0)
    preset = encoder(family)
    if family != "mpnet":  # a whole classifier, whose head gives probabilities; MPNet's takes no activation
        preset = tmp_path / "classifier"
        whole = keras_hub.models.TextClassifier.from_preset(str(encoder(family)), num_classes=2, activation="softmax")
        whole.save_to_preset(str(preset))
    config = TeacherConfig(preset=str(preset), max_length=24, epochs=1, layers=1)
    outcome = fine_tune(config, data, PAIR, tmp_path / "teacher", progress=False)
    assert outcome.steps == 1
    assert outcome.best is None

    teacher = load_teacher(tmp_path / "teacher")
    assert head_activation(teacher.model) == "linear"
    assert can_skip_padding(teacher.model) == (family in UNPADDED)
    assert teacher.mask_token in ("[MASK]", "<mask>")
    queries = [query.format(teacher.mask_token) for query in QUERIES]
    logits = teacher.logits([queries, TITLES])
    assert logits.shape == (4, 1)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert len(np.unique(logits)) == 4  # a softmax over one class gives 1 for each row
    # As KerasHub itself does it, text in and all of them padded to the full length.
    plain = [0, 2, 3]  # KerasHub makes several tokens of a mask that is written out
    whole = teacher.preprocessor
    whole.sequence_length = 24
    inputs = whole(x=tuple([column[i] for i in plain] for column in (queries, TITLES)))
    expected = teacher.model.predict_on_batch(keras.tree.map_structure(np.asarray, dict(inputs)))
    assert np.abs(logits[plain] - expected).max() < 1e-5
    for kind in ("tokens", "contextual"):
        vectors = teacher.word_vectors(["red", "shoe", "red"], kind)
        assert (vectors[0] == vectors[2]).all() if kind == "tokens" else np.allclose(vectors[0], vectors[2], atol=1e-6)
        assert not np.allclose(vectors[0], vectors[1])
