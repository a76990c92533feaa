"""Spelling: the plain Python form and the graph read the same words, and students that correct read their queries so."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.students.harness import DICTIONARY, PAIR, PLAIN, SMALL, strong_student
from tfb2d.config import StudentConfig
from tfb2d.errors import DataError
from tfb2d.students import ngrams, text, text_spec
from tfb2d.students.hashing import hash_rows
from tfb2d.students.served import ServedStudent
from tfb2d.students.spelling import Dictionary, edits, learn
from tfb2d.students.spelling_graph import Spelling

WORDS = [b"lenovo", b"socket", b"pocket", b"table", b"tablet", b"cable", b"64", b"usb", b"abcde", b"refrigerators"]
KNOWN = Dictionary(np.array([text_spec.token_hash(word) for word in WORDS]))  # the first is the most frequent
SPELLING = Spelling(KNOWN)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def graph(texts: tf.Tensor) -> tf.RaggedTensor:
    return text.token_hashes(texts, 3, spelling=SPELLING)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("lenoov", "lenovo"),  # changed over
        ("lenvo", "lenovo"),  # one left out
        ("lennovo", "lenovo"),  # one added
        ("lenovp", "lenovo"),  # another one
        ("lenovox", "lenovo"),
        ("lenov", "lenovo"),
        ("tablex", "table"),  # and not tablet, which is as near: table is more frequent
        ("cabel", "cable"),
        ("denovo", "denovo"),  # the first letter
        ("lenoovv", "lenoovv"),  # two edits
        ("pocket", "pocket"),  # known, though socket is near and more frequent
        ("usbb", "usbb"),  # short
        ("lenov0", "lenovo 0"),  # a token's letters and digits are apart before
        ("LÉNOVP", "lenovo"),  # folded before
        ("refrigeratorsx", "refrigerators"),
        ("", ""),
    ],
)
def test_reads_unknown_words_as_the_most_frequent_word_one_edit_away(typed: str, read: str) -> None:
    tokens = text_spec.tokens(typed, 9)
    assert [KNOWN.read(token) for token in tokens] == text_spec.tokens(read, 9)


def test_edits_are_all_words_one_edit_away() -> None:
    near = set(edits(b"abc"))
    assert {b"ac", b"ab", b"acb", b"abcd", b"axc", b"abx", b"xabc"} & near == {
        b"ac",
        b"ab",
        b"acb",
        b"abcd",
        b"axc",
        b"abx",
    }
    assert all(word[:1] == b"a" for word in near)
    assert (
        len(near) == 2 + 1 + 2 * 25 + (3 * 26 - 2) + 1
    )  # left out, changed over, replaced, added, and the word itself


@given(st.lists(st.lists(st.sampled_from(WORDS) | st.text("abcelnotv", max_size=9).map(str.encode), max_size=4)))
def test_the_graph_reads_what_plain_python_reads(rows: list[list[bytes]]) -> None:
    texts = [b" ".join(row) for row in rows]
    hashes = graph(tf.constant(texts, tf.string, [len(texts)]))
    expected = [[text_spec.token_hash(KNOWN.read(token)) for token in text_spec.tokens(row, 3)] for row in texts]
    assert hashes.to_list() == expected


@given(st.sampled_from(WORDS), st.integers(0, 2**32))
def test_every_edit_of_a_word_is_read_alike(word: bytes, seed: int) -> None:
    near = list(edits(word))
    typed = near[seed % len(near)]
    assert graph(tf.constant([typed])).to_list() == [
        [text_spec.token_hash(KNOWN.read(token)) for token in text_spec.tokens(typed, 3)]
    ]


def test_learns_words_that_occur_three_times_in_different_texts_most_frequent_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = ["lenoov"] * 4 + ["lenovo socket", "socket lenovo", ""]  # one query with four titles is one text
    titles = ["lenovo", "lenovo table", "lenovo socket", "socket socket", "table", "lenovo", "table top"]
    columns = [np.array(texts, object) for texts in (queries, titles)]
    rows = hash_rows(columns, np.zeros((len(queries), 1), np.float32), tmp_path, 8)
    expected = [text_spec.token_hash(word) for word in (b"lenovo", b"socket", b"table")]
    assert learn(rows.rows).known.tolist() == expected  # 5, 4 and 3 times
    monkeypatch.setattr(ngrams, "TOKENS", 2)
    assert learn(rows.rows).known.tolist() == expected


def test_a_repeated_hash_has_its_first_rank() -> None:
    known = Dictionary(np.array([text_spec.token_hash(word) for word in (b"lenova", b"lenovo", b"lenova")]))
    assert known.read(b"lenovx") == b"lenova"
    hashes = text.token_hashes(tf.constant(["lenovx"]), 3, spelling=Spelling(known))
    assert hashes.to_list() == [[text_spec.token_hash(b"lenova")]]


def test_the_pages_example() -> None:
    page = " ".join(Path("docs/hash_spec.md").read_text(encoding="utf-8").split())
    words = re.search(r'With the words ("[a-z", ]+) known', page)
    example = re.search(r"the query `([a-z0-9 ]+)` has the tokens ([a-z0-9, ]+) and is read as ([a-z0-9, ]+)\.", page)
    assert words is not None
    assert example is not None
    known = [text_spec.token_hash(word.encode()) for word in re.findall("[a-z]+", words[1])]
    tokens = text_spec.tokens(example[1], 9)
    assert b", ".join(tokens).decode() == example[2]
    assert b", ".join(map(Dictionary(np.array(known)).read, tokens)).decode() == example[3]


@pytest.mark.parametrize("config", [SMALL, PLAIN])
def test_corrects_queries_alone(config: StudentConfig, tmp_path: Path) -> None:
    student = strong_student(PAIR, replace(config, spelling=True))
    columns = [["battrey red", "bttery", "blanket"], ["battery pack", "red blankte", "battery"]]
    right = [["battery red", "battery", "blanket"], columns[1]]
    for graph in (student.model, ServedStudent(student).logits):
        np.testing.assert_array_equal(*(graph([tf.constant(column) for column in side]) for side in (columns, right)))
        titles = [columns[0], ["battery pack", "red blanket", "battery"]]
        other = graph([tf.constant(column) for column in titles]).numpy()
        assert other[1] != graph([tf.constant(column) for column in columns]).numpy()[1]
    targets = np.zeros((3, 1), np.float32)
    hashed = [
        hash_rows([np.array(column, object) for column in side], targets, tmp_path / name, 64, dictionary=DICTIONARY)
        for name, side in (("typed", columns), ("right", right))
    ]
    for typed, read in zip(*(rows.rows.fields for rows in hashed), strict=True):
        np.testing.assert_array_equal(typed[0], read[0])
    assert student.tokens_read("Battrey 64GB", 0) == [b"battery", b"64", b"gb"]
    assert student.tokens_read("Battrey 64GB", 1) == [b"battrey", b"64", b"gb"]


def test_a_dictionary_is_saved_and_read(tmp_path: Path) -> None:
    KNOWN.save(tmp_path / "words")
    assert (tmp_path / "words").stat().st_size == 8 * len(WORDS)
    assert Dictionary.load(tmp_path / "words").read(b"lenoov") == b"lenovo"
    (tmp_path / "words").write_bytes(b"123")
    with pytest.raises(DataError, match="words, the words that a student knows, cannot be read"):
        Dictionary.load(tmp_path / "words")
    assert Dictionary(np.zeros(0, np.int64)).read(b"lenoov") == b"lenoov"
