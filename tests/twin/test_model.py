"""Twins of every kind: their encoders, their vectors, and how they are saved."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.teachers.harness import save_encoder
from tests.twin.small import SMALL, TASK
from tests.twin.small import settings as small
from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.config.twin import TwinConfig
from tfb2d.teachers.models import build_classifier
from tfb2d.teachers.packing import Packer
from tfb2d.twin.encoders import Source, cut, layers_taken, read_source
from tfb2d.twin.inputs import NGramInputs, TriLetterInputs, WordPieceInputs
from tfb2d.twin.model import distinct, load_twin, new_twin, with_look_up_queries
from tfb2d.twin.texts import PackedTexts

QUERIES = ["red shoe", "", "blue hat", "é, \ud800 ½"]
TITLES = ["the red shoe of", "good film", "poor " * 30, ""]
KINDS: dict[str, dict] = {
    "transformer": {},
    "apart": {"shared": False, "pooling": "weighted", "crossing": "concat"},
    "scratch": {"preset": "scratch", "pooling": "cls", "crossing": "cosine"},
    "triletters": {"preset": "scratch", "inputs": "triletters", "crossing": "two_layer"},
    "ngram": {"kind": "ngram"},
    "asymmetric": {"kind": "asymmetric"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read_source(str(save_encoder("bert", tmp_path_factory.mktemp("encoder") / "bert")), 16)


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_is_saved_and_read_back(kind: str, source: Source, tmp_path: Path) -> None:
    config = small(**KINDS[kind])
    twin = new_twin(dataclasses.replace(config, kind="transformer") if kind == "asymmetric" else config, TASK, source)
    if kind == "asymmetric":
        twin = with_look_up_queries(config, twin)
    assert twin.shared == (kind not in ("apart", "asymmetric"))
    logits = twin.logits([QUERIES, TITLES])
    assert logits.shape == (4, 1)
    assert np.isfinite(logits).all()
    for vectors in (twin.embed_query(QUERIES), twin.embed_title(TITLES)):
        assert vectors.dtype == np.float32
        assert vectors.shape == (4, SMALL.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    twin.save(tmp_path / "twin", {"note": "tiny"})
    again = load_twin(tmp_path / "twin")
    assert again.config == config
    assert again.shared == twin.shared
    np.testing.assert_array_equal(again.logits([QUERIES, TITLES]), logits)
    assert json.loads((tmp_path / "twin" / "twin.json").read_text())["note"] == "tiny"
    assert twin.cross(np.empty((0, SMALL.dim), np.float32), np.empty((0, SMALL.dim), np.float32)).shape == (0, 1)


def test_a_folder_without_a_whole_twin_is_refused(source: Source, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no twin\.json"):
        load_twin(tmp_path)
    new_twin(small(kind="ngram"), TASK, None).save(tmp_path)
    path = tmp_path / "twin.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(ConfigError, match="format 99"):
        load_twin(tmp_path)
    path.write_text(json.dumps({**about, "config": {**about["config"], "crossing": "concat"}}))
    with pytest.raises((ConfigError, ValueError)):
        load_twin(tmp_path)


@pytest.mark.parametrize(
    ("of", "layers", "take", "expected"),
    [(6, 3, "spaced", [1, 3, 5]), (6, 3, "first", [0, 1, 2]), (12, 1, "spaced", [11]), (5, 3, "spaced", [1, 2, 4])],
)
def test_which_layers_are_taken(of: int, layers: int, take: str, expected: list[int]) -> None:
    assert layers_taken(of, layers, take) == expected


@given(st.integers(1, 48).flatmap(lambda of: st.tuples(st.just(of), st.integers(1, of))))
def test_spaced_layers_rise_and_end_with_the_last(sizes: tuple[int, int]) -> None:
    of, layers = sizes
    taken = layers_taken(of, layers, "spaced")
    assert sorted(set(taken)) == taken
    assert taken[-1] == of - 1
    assert taken[0] >= 0
    assert len(taken) == layers


def test_more_layers_than_there_are_are_refused(source: Source) -> None:
    with pytest.raises(ConfigError, match=r"twin\.layers is 3; .* has 2"):
        cut(source.backbone, small(layers=3))


def test_a_cut_encoder_has_the_weights_of_the_layers_that_it_took(source: Source) -> None:
    for take, index in (("first", 0), ("spaced", 1)):
        shallow = cut(source.backbone, small(take=take))
        taken = shallow.get_layer("transformer_layer_0").get_weights()
        own = source.backbone.get_layer(f"transformer_layer_{index}").get_weights()
        assert all(np.array_equal(left, right) for left, right in zip(taken, own, strict=True))
        np.testing.assert_array_equal(shallow.token_embedding.embeddings, source.backbone.token_embedding.embeddings)
    assert np.abs(np.array(source.backbone.get_layer("transformer_layer_0").get_weights()[0])).sum() > 0


@pytest.mark.parametrize("family", ["distil_bert", "electra", "mpnet"])
def test_whole_encoders_of_other_families_give_the_vectors_that_teachers_see(family: str, tmp_path: Path) -> None:
    folder = save_encoder(family, tmp_path / family)
    source = read_source(str(folder), 16)
    twin = new_twin(small(layers=2, pooling="cls"), TASK, source)
    classifier = build_classifier(TeacherConfig(preset=str(folder), max_length=16), 1)
    inputs = list(classifier.input)
    packer = Packer(classifier.preprocessor, inputs, 16)
    rows = packer.pack([["red shoe", "a film"]])
    states = classifier.backbone(dict(packer.pad(rows, np.arange(2))))
    states = states["sequence_output"] if isinstance(states, dict) else states
    dense = twin.query_tower.model.get_layer("embedding")
    vectors = np.tanh(np.array(states[:, 0]) @ np.array(dense.kernel) + np.array(dense.bias))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(twin.embed_query(["red shoe", "a film"]), vectors, atol=1e-4)


@pytest.mark.parametrize("family", ["roberta", "f_net"])
def test_encoders_that_towers_cannot_feed_are_refused(family: str, encoder_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="towers start from WordPiece encoders"):
        read_source(str(encoder_folder(family)), 16)


def test_texts_longer_than_an_encoders_positions_and_unknown_presets_are_refused(
    encoder_folder: Callable[[str], Path],
) -> None:
    with pytest.raises(ConfigError, match="takes 32 tokens, not 40"):
        read_source(str(encoder_folder("bert")), 40)
    with pytest.raises(ConfigError, match=r"^twin\.preset: there is no 'bert_smal'"):
        read_source("bert_smal", 8)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("families")
    return lambda family: folder / family if (folder / family).exists() else save_encoder(family, folder / family)


@pytest.mark.parametrize("kind", ["wordpiece", "triletters", "ngrams"])
@settings(max_examples=15)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=5), seed=st.integers(0, 9)
)
def test_packed_texts_give_the_ids_that_serving_computes(kind: str, texts: list[str], seed: int) -> None:
    inputs = INPUTS[kind]
    packed = PackedTexts.of(inputs, texts)
    rows = np.random.default_rng(seed).permutation(len(texts))
    batch = packed.batch(rows)
    expected = inputs(tf.constant([texts[row].encode() for row in rows]))
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
        padded, values = batch[name].numpy(), values.numpy()
        cut_to = padded[tuple(slice(size) for size in values.shape)]
        np.testing.assert_array_equal(cut_to, values)
        assert (padded.sum(), padded.dtype) == (values.sum(), np.int32)  # 0 pads
    assert sorted(np.concatenate(list(packed.batches(64)))) == list(range(len(texts)))


INPUTS = {
    "wordpiece": WordPieceInputs(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcde", *("##" + c for c in "abcde")], True, True, 9
    ),
    "triletters": TriLetterInputs(100, 5),
    "ngrams": NGramInputs(100, (1, 2), 6),
}


def test_distinct_texts() -> None:
    texts, at = distinct(["b", "a", "b", ""])
    assert texts == ["b", "a", ""]
    assert at.tolist() == [0, 1, 0, 2]
    assert distinct([])[0] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "twin"}, "transformer, ngram, asymmetric"),
        ({"crossing": "dot"}, "cosine, max"),
        ({"inputs": "triletters"}, "scratch"),
        ({"layers": 0}, r"twin\.layers"),
        ({"query_length": 2}, "two are special"),
        ({"heads": 5}, r"multiple of twin\.heads"),
        ({"orders": (2, 1)}, "rising"),
        ({"margin_weight": -1.0}, "0 or more"),
        ({"batch_size": 0}, "above 0"),
        ({"dropout": 1.0}, "share"),
        ({"weights": "int4"}, "bfloat16"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TwinConfig(**change)


def test_the_transformer_of_an_asymmetric_twin_does_not_depend_on_look_up_settings() -> None:
    assert small(kind="asymmetric", buckets=99, width=4, look_up_epochs=9).symmetric() == dataclasses.replace(
        small(), buckets=2**18, width=128, max_tokens=64, look_up_epochs=10
    )
