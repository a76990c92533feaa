import random
import re
import tracemalloc
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.keys import HashSet, both_keys, cut_key, hash64, near_key, text_key

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
        ("15 mm", "15MM"),
        ("It costs 5.", "it costs: 5"),
        ("5 % off", "(5%) off!"),
        ("C ++", "c++"),
        ("½ inch", "1/2 Inch"),
        ("1½ inch", "1 1/2 inch"),
        ("5 m²", "5 m2"),
        ("10⁻³", "10^-3"),
        ("10²³ atoms", "10^23 atoms"),
        ("\u22125 °C", "-5°c"),
        ("well-made, and/or #cheap", "well made and or cheap"),
        ("A | B ~ C <br>", "a b c br"),
        ("e.\u0301", "é"),
        ("5 – 10", "5 - 10"),
        ("5–10", "5-10"),
        ("- 5 C", "\u22125 C"),
        ("5′ x 10″", "5' x 10\""),
        ("the 1990's", "the 1990s"),
        ("films - 5 of them", "films 5 of them"),
        ("good -", "good"),
        ("a co-op", "a coop"),
        ("It’s ‘fine’", "it's fine"),
    ],
)
def test_the_same_text(left, right):
    assert text_key(left) == text_key(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("15 mm", "1.5 mm"),
        ("15 mm", "1,5 mm"),
        ("15 mm", "1 5 mm"),
        (".5 mm", "5 mm"),
        ("5 .5", "5.5"),
        ("12 inch", "1/2 inch"),
        ("1 2 inch", "1/2 inch"),
        ("10-5", "105"),
        ("1½ inch", "11/2 inch"),
        ("2¾", "23/4"),
        ("10²", "102"),
        ("10⁻³", "10³"),
        ("10^-3", "10^3"),
        ("5e-3", "5e3"),
        ("-5 °C", "5 °C"),
        ("x = -5", "x = 5"),
        ("+5", "5"),
        ("C#", "C++"),
        ("C#", "C"),
        ("C", "C++"),
        ("#1", "1"),
        ("$5 + 3", "5 3"),
        ("$5", "€5"),
        ("5%", "5"),
        ("5 < 6", "5 > 6"),
        ("3:10", "310"),
        ("١٫٥", "١٥"),
        ("good", "goods"),
        ("cafe", "café"),
        ("कि", "का"),
        ("👍", "👎"),
        ("nice 👍", "nice 👎"),
        ("A-", "A"),
        ("grade A-, good", "grade A, good"),
        ("AB-", "AB+"),
        ("5'", "5"),
        ("5'", '5"'),
        ('5"', "5"),
        ("5'11\"", "511"),
        (".NET", "NET"),
        ("a .NET film", "a net film"),
        ("- 5 C", "5 C"),
        ("x = - 5", "x = 5"),
        ("5-10", "5 10"),
        ("5-10", "510"),
        ("2020-01-05", "2020 01 05"),
        ("?", "!"),
        ("", "."),
    ],
)
def test_different_texts(left, right):
    assert text_key(left) != text_key(right)


@pytest.mark.parametrize("text", ["!", "...", "—", "$", " . ", "\u200b!", "?!"])
def test_punctuation_alone_has_a_key(text):
    assert text_key(text)
    assert near_key(text)


@given(st.lists(st.text("a1 .,/-#+$%=:é½", max_size=8), min_size=2, max_size=2))
def test_texts_of_one_key_fall_into_one_split(texts):
    left, right = texts
    if text_key(left) == text_key(right):
        assert cut_key(left) == cut_key(right)
    assert cut_key("15 mm") == cut_key("1.5 mm")


_DROPPED = re.compile(r"[^\w\s]|_")


@given(st.text("a1bé .,/-–#'\"’:;()", max_size=12))
def test_the_cut_key_holds_letters_and_numbers_alone(text):
    plain = "".join(_DROPPED.sub("", text).split()).casefold()
    assert not plain or cut_key(text) == plain


@given(st.lists(st.integers(0, 99).map(str), min_size=1, max_size=4), st.sampled_from(" ;"))
def test_numbers_in_a_row_stay_apart(numbers, between):
    key = text_key(between.join(numbers))
    assert key == text_key(f"{between} ".join(numbers))
    assert key.split(" ") == numbers


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
    tracemalloc.start()
    held = HashSet()
    assert sum(held.add(part).sum() for part in np.split(hashes, 100)) == len(hashes)
    assert not held.add(hashes[random.Random(0).sample(range(len(hashes)), 1000)]).any()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 8 * len(hashes) <= size < 8.2 * len(hashes)
