"""Tokens are marked where they stand in the text, and leaving words out says which of them count."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.explain.leave_one_out import MAX_TOKENS, leave_one_out
from tfb2d.explain.spans import Span, positions, spans
from tfb2d.students import text_spec
from tfb2d.students.model import Student

PIECES = [
    "Red",
    "USB-C",
    "64GB",
    "3.5",
    "É",
    "e\u0301",
    "漢字かな",
    "ΣΊΣΥΦΟΣ",
    "İ",
    "\ufeff",
    "\x00",
    "🙂",
    " ",
    "\t",
    "-",
]
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=("Cs",)), max_size=12).map("".join)


def folded(text: str, most: int = 100) -> list[str]:
    return [token.decode() for token in text_spec.tokens(text, most)]


@given(TEXT)
def test_every_token_is_where_it_stands(text: str) -> None:
    tokens = folded(text)
    ranges = positions(text, tokens)
    assert len(ranges) == len(tokens)
    ends = [0, *(end for _, end in ranges)]
    assert all(before <= first < last for before, (first, last) in zip(ends, ranges, strict=False))
    # A token cut out of its text is that token again.
    assert [folded(text[first:last]) for first, last in ranges] == [[token] for token in tokens]


@given(TEXT, st.integers(0, 3))
def test_spans_are_the_text_in_pieces(text: str, most: int) -> None:
    tokens = folded(text, most)
    pieces = spans(text, tokens, [1.0] * len(tokens))
    assert "".join(piece.text for piece in pieces) == text
    assert sum(piece.value for piece in pieces) == len(tokens)


def test_texts_keep_their_spelling() -> None:
    assert spans("Cafe\u0301, 64GB", ["cafe", ",", "64", "gb"], [1, 2, 3, 4]) == (
        Span("Cafe\u0301", 1.0),
        Span(",", 2.0),
        Span(" ", 0.0),
        Span("64", 3.0),
        Span("GB", 4.0),
    )
    assert spans("", [], []) == ()


def test_what_is_left_out_is_what_the_score_loses() -> None:
    def rank(query: str, titles: list[str]) -> np.ndarray:
        logits = [2.0 * ("red" in title.lower()) + 1.0 * ("shoe" in query) for title in titles]
        return 1 / (1 + np.exp(-np.array(logits)))

    score, tokens, values = leave_one_out(rank, "a shoe", "Red, size 8")
    assert score == pytest.approx(1 / (1 + np.exp(-3)))
    assert tokens == [["a", "shoe"], ["red", ",", "size", "8"]]
    np.testing.assert_allclose(values[0], [0, 1], atol=1e-9)
    np.testing.assert_allclose(values[1], [2, 0, 0, 0], atol=1e-9)


def test_scores_of_one_and_texts_without_end_are_explained() -> None:
    score, tokens, values = leave_one_out(lambda _, titles: np.ones(len(titles)), "", "x " * 500)
    assert score == 1
    assert [len(side) for side in tokens] == [0, MAX_TOKENS]
    assert values == [[], [0.0] * MAX_TOKENS]


def test_a_students_own_scores(pairs: Student) -> None:
    def rank(query: str, titles: list[str]) -> np.ndarray:
        return tf.sigmoid(pairs.model([tf.constant([query] * len(titles)), tf.constant(titles)])[:, 0]).numpy()

    score, _, values = leave_one_out(rank, "red shoe", "blue shoe")
    without = rank("red", ["blue shoe"])[0]
    assert values[0][1] == pytest.approx(np.log(score / (1 - score)) - np.log(without / (1 - without)), abs=1e-4)
