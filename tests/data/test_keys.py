import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.keys import HashSet, both_keys, hash64, near_key, text_key

any_text = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("A film, to see!", "a FILM to see"),
        ("well-made", "Wellmade"),
        (" two  words\t", "two words"),
        ("Straße", "STRASSE"),
        ("ﬁne café", "fine cafe\u0301"),
        ("ＡＢＣ１２", "abc12"),
        ("“Quoted” — text…", '"quoted" - text'),
        ("zero\u200bwidth", "zerowidth"),
        ("$5 + 3", "5 3"),
        ("e.\u0301", "é"),
    ],
)
def test_the_same_text(left, right):
    assert text_key(left) == text_key(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("good", "goods"), ("cafe", "café"), ("कि", "का"), ("👍", "👎"), ("nice 👍", "nice 👎"), ("?", "!"), ("", ".")],
)
def test_different_texts(left, right):
    assert text_key(left) != text_key(right)


@pytest.mark.parametrize("text", ["!", "...", "—", "$", " . ", "\u200b!", "?!"])
def test_punctuation_alone_has_a_key(text):
    assert text_key(text)
    assert near_key(text)


def test_fields_are_kept_apart():
    assert text_key("ab", "c") != text_key("a", "bc")
    assert near_key("a b", "c") != near_key("a", "b c")
    assert text_key("a", "") != text_key("", "a")


@given(st.lists(any_text, min_size=1, max_size=2))
def test_keys_are_stable(fields):
    key = text_key(*fields)
    assert both_keys(fields) == (key, near_key(*fields))
    upper = [field.upper() for field in fields]
    if [u.casefold() for u in upper] == [f.casefold() for f in fields] == [f.lower() for f in fields]:
        assert text_key(*upper) == key
    assert text_key(*(unicodedata.normalize("NFC", field) for field in fields)) == key


@given(st.lists(st.text("abcäß1日", min_size=1), min_size=1), st.randoms(use_true_random=False))
def test_near_key_forgets_order_and_number(words, shuffle):
    other = [*words, shuffle.choice(words)]
    shuffle.shuffle(other)
    assert near_key(", ".join(other).upper()) == near_key(" ".join(words))
    assert near_key(" ".join([*words, "new"])) != near_key(" ".join(words))


def test_hash_is_written_down():
    assert hash64("") == 0xB4B2797457A0A6E4
    assert hash64("naïve") == 0xDC4CEBEE9268F2BE


@given(st.lists(st.lists(st.integers(0, 60)), max_size=30))
def test_hash_set_is_a_set(batches):
    ours, theirs = HashSet(), set()
    for batch in batches:
        new = []
        for value in batch:
            new.append(value not in theirs)
            theirs.add(value)
        assert ours.add(np.array(batch, np.uint64)).tolist() == new
    assert len(ours) == len(theirs)


def test_hash_set_takes_eight_bytes_a_hash():
    hashes = np.random.default_rng(0).integers(0, 2**64, 200_000, np.uint64)
    held = HashSet()
    assert sum(held.add(part).sum() for part in np.split(hashes, 100)) == len(hashes)
    assert not held.add(hashes[random.Random(0).sample(range(len(hashes)), 1000)]).any()
    assert sum(part.nbytes for part in held._sorted) == 8 * len(hashes)
    assert len(held._sorted) < 12
