"""fastText and Model2Vec as peers: what they read, and vectors by PCA."""

from pathlib import Path

import fasttext
import numpy as np
import pytest
from model2vec import StaticModel

from tfb2d.bench.words import FastText, Model2Vec, features, lines, static_vectors, train_fasttext, train_model2vec


def test_lines_are_what_fasttext_reads() -> None:
    assert lines([["Don't, PAY\n2!"]], raw=False) == ["don ' t ,  pay 2 ! "]
    assert lines([["Don't,\nPAY"]], raw=True) == ["Don't, PAY"]
    assert lines([["Red"], ["Shoe"]], raw=False) == ["red  |  shoe"]


def test_words_that_fasttext_takes_for_its_own_are_words_like_others(tmp_path: Path) -> None:
    assert lines([["bad </s> good", "bad __label__1"]], raw=True) == ["bad < /s> good", "bad __ label__1"]
    assert lines([["bad </s> good", "__label__1"]], raw=False) == ["bad  <  / s >  good", "__ label__1"]
    for raw in (False, True):
        file = str(tmp_path / f"own-{raw}.bin")
        texts = ["bad film __label__2", "film </s> good"] * 40  # the second is told by what follows </s>
        train_fasttext(file, [texts], [0, 1] * 40, 8, 64, 1, raw)
        system = FastText(file, raw)
        assert sorted(fasttext.load_model(file).labels) == ["__label__0", "__label__1"]
        bad, cut, whole = system.score(["bad", "bad </s>", "bad </s> good good good"])
        assert bad < 0.5
        assert whole > cut + 0.01  # the same score, were the text cut at the mark


def test_fasttext_scores_are_probabilities_and_repeatable(tmp_path: Path) -> None:
    texts = [f"{'good' if row % 2 else 'bad'} film {row % 9}" for row in range(300)]
    scores = []
    for name in ("first", "second"):
        file = str(tmp_path / f"{name}.bin")
        train_fasttext(file, [texts], [row % 2 for row in range(300)], 8, 20_000, 2)
        system = FastText(file)
        # With fewer threads than 11, fastText leaves rows of its table as memory was.
        assert np.abs(fasttext.load_model(file).get_input_matrix()).max(axis=1).all()
        scores.append(system.score(texts))
    assert scores[0].min() >= 0
    assert scores[0].max() <= 1
    assert scores[0] == pytest.approx(scores[1], abs=1e-2)


def test_model2vec_vectors_have_unit_length_and_unknown_words_none(minilm: Path, tmp_path: Path) -> None:
    texts = ["a good film", "a bad film"] * 20
    folder = str(tmp_path / "model")
    train_model2vec(folder, str(minilm), [texts], [1, 0] * 20, 16)
    system = Model2Vec(folder)
    vectors = StaticModel.from_pretrained(folder).encode(["a good film", "film " * 4000, "\U0001f9ff"])
    assert vectors.dtype == np.float32  # not on the scale of an int8 table
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, np.linalg.norm(vectors[2])], abs=1e-5)
    scores = system.score(["a good film", "a bad film", "", "\U0001f9ff"])
    assert np.isfinite(scores).all()  # a text without a known word is a zero vector
    assert scores[0] > 0.5 > scores[1]


def test_fasttext_of_three_classes_gives_the_class_decided_for(tmp_path: Path) -> None:
    texts = ["red shoe", "blue hat", "green bag"] * 30
    file = str(tmp_path / "three.bin")
    chosen = train_fasttext(file, [texts], [0, 1, 2] * 30, 8, 64, 2)
    assert set(chosen) == {"lr", "epoch"}
    assert [path.name for path in tmp_path.iterdir()] == ["three.bin"]
    scores = FastText(file).score(texts[:3])
    assert scores.shape == (3, 3)
    assert scores.argmax(1).tolist() == [0, 1, 2]
    assert np.count_nonzero(scores) == 3


def test_static_vectors_keep_what_varies_most() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((500, 12)) * ([5, 3] + [0.01] * 10) + 7
    chosen = static_vectors(wide, 2)
    assert chosen.shape == (500, 2)
    assert chosen.dtype == np.float32
    weights = chosen[:, 0] / (wide[:, 0] - wide[:, 0].mean())
    assert np.abs(weights[200]) > np.abs(weights[1])  # frequent tokens, the first, count less
    q, t = chosen[:3], chosen[3:6]
    assert features(q).shape == (3, 2)
    assert features(q, t)[:, 4:6] == pytest.approx(q * t)
