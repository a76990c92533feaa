import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import AugmentConfig
from tfb2d.data.augment import LONGEST, augmented, sentences

TEXT = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Smith met Dr. J. R. Jones. They spoke.", ["Mr. Smith met Dr. J. R. Jones.", "They spoke."]),
        ('He said "Go." Then left.', ['He said "Go."', "Then left."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("It cost 3.50 dollars. Cheap.", ["It cost 3.50 dollars.", "Cheap."]),
        ("The U.S. army came. It saw.", ["The U.S. army came.", "It saw."]),
        ("line one\n\nline two", ["line one", "line two"]),
        ("これは文。次の文！終わり", ["これは文。", "次の文！", "終わり"]),
        ("one\nsentence. Mr.\nSmith", ["one\nsentence.", "Mr.\nSmith"]),
        ("no end", ["no end"]),
        (" . ", ["."]),
        ("", []),
        ("  ", []),
    ],
)
def test_sentences(text, pieces):
    assert sentences(text) == pieces


@given(st.text('aA .!?\n"。J', max_size=80))
def test_sentences_lose_no_character(text):
    assert re.sub(r"\s", "", "".join(sentences(text))) == re.sub(r"\s", "", text)


def test_sentences_are_quick_on_long_text():
    for text in ("Mr. " * 100_000, " " * 400_000, "\n" * 400_000, "." * 400_000, "x" * 400_000):
        assert len(sentences(text)) <= 1


def test_copies_depend_on_seed_and_text_alone():
    config = AugmentConfig(copies=5, mask=0.3, ngram=0.3)
    first = augmented((TEXT,), config, "[MASK]", 0)
    assert augmented((TEXT,), config, "[MASK]", 0) == first
    assert augmented((TEXT,), config, "[MASK]", 1) != first
    assert augmented((TEXT,), AugmentConfig(copies=3, mask=0.3, ngram=0.3), "[MASK]", 0) == first[:3]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=2), st.floats(0, 1), st.floats(0, 1))
def test_copies_are_changed_and_hold_text(fields, mask, ngram):
    made = augmented(fields, AugmentConfig(copies=8, mask=mask, ngram=ngram), "<mask>", 3)
    assert len(made) <= 8
    for row in made:
        assert len(row) == len(fields)
        assert row != tuple(fields)
        assert sum(new != old for new, old in zip(row, fields, strict=True)) == 1
        assert set("".join(row).split()) != {"<mask>"}


def test_masks_alone():
    rows = [
        row
        for i in range(300)
        for row in augmented((f"{TEXT} {i}",), AugmentConfig(copies=1, mask=0.2, ngram=0), "[M]", 0)
    ]
    masked = [word == "[M]" for (text,) in rows for word in text.split()]
    assert all(len(text.split()) == 11 for (text,) in rows)
    assert sum(masked) / len(masked) == pytest.approx(0.2, abs=0.04)


def test_ngrams_alone():
    rows = [
        row
        for i in range(500)
        for row in augmented((f"{i} {TEXT}",), AugmentConfig(copies=1, mask=0, ngram=1), "[M]", 0)
    ]
    assert len(rows) == 500
    for i, (text,) in enumerate(rows):
        assert f" {text} " in f" {i} {TEXT} "
    assert {len(text.split()) for (text,) in rows} == set(range(1, LONGEST + 1))


def test_a_pair_changes_on_both_sides():
    made = augmented(("red shoes for men", TEXT), AugmentConfig(copies=50, mask=0.3, ngram=0.3), "[M]", 0)
    assert {query == "red shoes for men" for query, _ in made} == {True, False}
    assert {title == TEXT for _, title in made} == {True, False}
