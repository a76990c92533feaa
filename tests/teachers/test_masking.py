from collections.abc import Callable

import keras_hub
import numpy as np
import pytest

from tests.teachers.harness import phrases
from tfb2d.config import TeacherConfig
from tfb2d.data.task import Task
from tfb2d.teachers.masking import IGNORED, Units, special_ids, units, word_begins
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.packing import Packer
from tfb2d.teachers.teacher import Teacher


def shown(packer: Packer, row: Units) -> list[list[str]]:
    """Returns the pieces of each unit."""
    pieces = [packer.tokenizer.id_to_token(int(i)) for i in row.packed.ids]
    return [[p for p, of in zip(pieces, row.of, strict=True) if of == unit] for unit in range(len(row.rows))]


def test_words(teacher: Teacher) -> None:
    packed = teacher.pack([["red shoe", "a"], ["goodish film", ""]])
    cut = units(packed, teacher.packer.tokenizer, "whole_word")
    pieces = shown(teacher.packer, cut)
    assert pieces[:2] == [["red"], ["shoe"]]
    assert len(pieces[2]) > 1
    assert "".join(p.removeprefix("##") for p in pieces[2]) == "goodish"
    assert pieces[3:] == [["film"], ["a"]]
    assert cut.rows.tolist() == [0, 0, 0, 0, 1]
    special = np.isin(packed.ids, list(special_ids(teacher.packer.tokenizer)))
    assert ((cut.of == -1) == special).all()


def test_words_that_stand_together_are_a_phrase(teacher: Teacher) -> None:
    rng = np.random.default_rng(0)
    others = ["the", "good", "bad", "film", "of", "and", "not", "fine", "poor"]
    titles = [f"{rng.choice(others)} red shoe {rng.choice(others)} {rng.choice(others)}" for _ in range(200)]
    packed = teacher.pack([["blue"] * 200, titles])
    cut = units(packed, teacher.packer.tokenizer, "phrase")
    pieces = shown(teacher.packer, cut)
    assert pieces.count(["red", "shoe"]) == 200
    assert max(map(len, pieces)) == 2
    assert pieces.count(["blue"]) == 200  # the query's last word is no neighbour of the title's first


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm_roberta", "albert"])
def test_words_of_other_tokenizers(family: str, encoder: Callable) -> None:
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(str(encoder(family)))
    packer = Packer(preprocessor, ["token_ids", "padding_mask"], 32)
    cut = units(packer.pack([["the good film", "shoe"]]), packer.tokenizer, "whole_word")
    assert cut.rows.tolist() == [0, 0, 0, 1]
    assert word_begins(packer.tokenizer).dtype == bool


def test_hiding(teacher: Teacher) -> None:
    tokenizer = teacher.packer.tokenizer
    packed = teacher.pack([phrases(400, 1), phrases(400, 2)])
    cut = units(packed, tokenizer, "whole_word")
    plain = np.arange(5, 20)
    hidden, labels = cut.hide(0.15, tokenizer.mask_token_id, plain, np.random.default_rng(3))
    again, same = cut.hide(0.15, tokenizer.mask_token_id, plain, np.random.default_rng(3))
    assert (hidden.ids == again.ids).all()
    assert (labels == same).all()
    chosen = labels != IGNORED
    assert (labels[chosen] == packed.ids[chosen]).all()
    assert (hidden.ids[~chosen] == packed.ids[~chosen]).all()
    assert not chosen[cut.of == -1].any()
    row_of = np.repeat(np.arange(400), packed.lengths)
    assert (np.bincount(row_of[chosen], minlength=400) > 0).all()
    per_unit = [set(chosen[cut.of == unit]) for unit in range(len(cut.rows))]
    assert all(len(states) == 1 for states in per_unit)
    assert 0.12 < np.mean([states == {True} for states in per_unit]) < 0.3  # one a row at least
    assert 0.7 < (hidden.ids[chosen] == tokenizer.mask_token_id).mean() < 0.9
    assert 0.05 < ((hidden.ids != packed.ids) & (hidden.ids != tokenizer.mask_token_id))[chosen].mean() < 0.15


def test_no_rows(encoder: Callable) -> None:
    config = TeacherConfig(preset=str(encoder("bert")), max_length=16)
    teacher = Teacher(build_classifier(config, 1), Task(("text",)), 16)
    for kind in ("whole_word", "phrase"):
        assert len(units(teacher.pack([[""]]), teacher.packer.tokenizer, kind).rows) == 0
