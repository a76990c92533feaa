"""fastText and Model2Vec as peers: what they read, and vectors by PCA."""

from pathlib import Path

import numpy as np
import pytest

from tfb2d.bench.words import FastText, features, lines, static_vectors, train_fasttext


def test_lines_are_what_fasttext_reads() -> None:
    assert lines([["Don't, PAY\n2!"]], raw=False) == ["don ' t ,  pay 2 ! "]
    assert lines([["Don't,\nPAY"]], raw=True) == ["Don't, PAY"]
    assert lines([["Red"], ["Shoe"]], raw=False) == ["red  |  shoe"]


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
    found = static_vectors(wide, 2)
    assert found.shape == (500, 2)
    assert found.dtype == np.float32
    weights = found[:, 0] / (wide[:, 0] - wide[:, 0].mean())
    assert np.abs(weights[200]) > np.abs(weights[1])  # frequent tokens, the first, count less
    q, t = found[:3], found[3:6]
    assert features(q).shape == (3, 2)
    assert features(q, t)[:, 4:6] == pytest.approx(q * t)
