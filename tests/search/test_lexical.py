"""The BM25 leg, on real bm25s, saved and opened again."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.search.answer import SearchError
from tfb2d.search.lexical import K1, B, Lexical, contenders, write

TITLES = ["usb-c cable 5 m", "usb hub", "", "red shoe", "usb cable", "iphone x", "***", "usb stick"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bm25") / "bm25-0001"
    write(path, [(10 * place, title) for place, title in enumerate(TITLES)])
    return path


def test_only_titles_with_a_word_of_the_query_are_found(folder: Path) -> None:
    leg = Lexical(folder)
    assert leg.search("umbrella", 4)[0].tolist() == []
    assert leg.search("umbrella shoe", 4)[0].tolist() == [30]
    assert leg.search("", 4)[0].tolist() == []
    assert leg.search("!!!", 4)[0].tolist() == []
    assert leg.search("冰箱", 4)[0].tolist() == []


def test_a_word_of_most_titles_still_counts_and_k_may_exceed_the_titles(folder: Path) -> None:
    rows, scores = Lexical(folder).search("USB", 100)
    assert sorted(rows.tolist()) == [0, 10, 40, 70]
    assert (scores > 0).all()
    assert rows[:3].tolist() == [10, 40, 70]  # equal scores, by row; the longest title last


def test_one_letter_words_find_their_titles(folder: Path) -> None:
    leg = Lexical(folder)
    assert leg.search("c", 1)[0].tolist() == [0]
    assert leg.search("5", 1)[0].tolist() == [0]
    assert leg.search("x", 1)[0].tolist() == [50]
    assert leg.search("usbc", 1)[0].tolist() == [0]


def test_scores_are_those_of_the_formula(folder: Path) -> None:
    # Lucene's BM25: idf * tf / (tf + k1 * (1 - b + b * length / mean length)), empty titles counted
    lengths = [6, 2, 0, 2, 2, 2, 0, 2]
    idf = math.log(1 + (8 - 1 + 0.5) / (1 + 0.5))
    expected = idf / (1 + K1 * (1 - B + B * 2 / (sum(lengths) / 8)))
    assert Lexical(folder).search("shoe", 1)[1][0] == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=900), st.integers(1, 40))
def test_the_best_are_among_the_contenders(values: list[int], k: int) -> None:
    scores = np.array(values, np.float32)
    found = contenders(scores, k)
    best = [place for place in np.lexsort((np.arange(len(scores)), -scores))[:k].tolist() if scores[place] > 0]
    assert set(best) <= set(found.tolist())
    assert (scores[found] > 0).all()


@pytest.mark.parametrize("titles", [[], ["", "***"]])
def test_a_catalogue_without_words(titles: list[str], tmp_path: Path) -> None:
    write(tmp_path / "bm25", list(enumerate(titles)))
    assert Lexical(tmp_path / "bm25").search("usb", 3)[0].tolist() == []


@pytest.mark.parametrize("name", ["data.csc.index.npy", "vocab.index.json", "rows.npy", "sizes.json"])
def test_a_file_that_was_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "bm25", list(enumerate(TITLES)))
    path = tmp_path / "bm25" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(SearchError, match=r"is not whole .*tfb2d search build"):
        Lexical(tmp_path / "bm25")


def test_jax_is_neither_imported_nor_hidden(folder: Path) -> None:
    before = sys.modules.get("jax")
    Lexical(folder)
    assert sys.modules.get("jax") is before
