"""BM25 of pairs: the formula, words that bm25s's own tokenizer would drop, and what has no word."""

import subprocess
import sys

import numpy as np
import pytest

from tests.killing import ROOT
from tfb2d.evaluation.bm25 import bm25_scores, words


def expected(query: str, title: str, titles: list[str], k1: float = 1.5, b: float = 0.75) -> float:
    """Lucene's BM25, written down from Robertson and Zaragoza 2009, section 3.2, without the constant k1 + 1."""
    documents = [words(each) for each in dict.fromkeys(titles)]
    length, score = np.mean([len(document) for document in documents]), 0.0
    for word in words(query):
        holders = sum(word in document for document in documents)
        count = words(title).count(word)
        weight = np.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        score += weight * count / (count + k1 * (1 - b + b * len(words(title)) / length))
    return score


def test_scores_are_those_of_the_formula() -> None:
    titles = [
        "USB-C cable 5 m",
        "usb hub",
        "iPhone X case",
        "not for the iPhone",
        "cable cable cable",
        "USB-C cable 5 m",
    ]
    queries = ["usb c", "hub 4k", "iphone x", "not x", "cable cable", "m"]
    scores = bm25_scores(queries, titles)
    assert scores == pytest.approx([expected(q, t, titles) for q, t in zip(queries, titles, strict=True)], rel=1e-5)
    assert (scores > 0).all()  # one-letter words, "not" and digits count


def test_what_shares_no_word_scores_nothing() -> None:
    titles = ["", "...", "red shoe", "red shoe"]
    assert bm25_scores(["red", "shoe", "zzz", ""], titles).tolist() == [0.0] * 4
    assert bm25_scores(["a", ""], ["", "!"]).tolist() == [0.0, 0.0]
    assert bm25_scores([], []).shape == (0,)


def test_jax_is_not_started() -> None:
    score = "from tfb2d.evaluation.bm25 import bm25_scores; print(bm25_scores(['a'], ['a b'])[0] > 0)"
    code = f"import sys; {score}; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "False"]
