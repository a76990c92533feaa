"""What near texts are, and how surely they find each other."""

import itertools
import random
import string
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.data.keys import both_keys
from tfb2d.scale.held_texts import HeldTexts
from tfb2d.scale.near import LEADERS, any_near, are_near, band_keys, bands, word_columns
from tfb2d.scale.prepare_config import PrepareConfig

WORDS = ["red", "blue", "shoe", "shirt", "running", "cotton", "leather", "women", "kids", "summer"]


def columns(rows: list[tuple[str, ...]]) -> tuple[list[pa.Array], np.ndarray]:
    """The word sets of rows of texts, by field, and the hashes of the words that near texts must share."""
    return word_columns((both_keys(row)[1] for row in rows), len(rows[0]))


def near(one: tuple[str, ...], other: tuple[str, ...], threshold: float) -> bool:
    sets, exact = columns([one, other])
    return bool(exact[0] == exact[1] and are_near(sets, np.array([0]), sets, np.array([1]), threshold)[0])


LONG = "waterproof digital wrist watch with leather strap and steel case"


@pytest.mark.parametrize(
    ("one", "other", "is_near"),
    [
        ((LONG,), (f"{LONG.upper()}!",), True),
        ((LONG,), (LONG.replace("steel", "silver"),), True),  # 9 of 11 words
        ((LONG,), (LONG.replace("steel", "silver").replace("strap", "band"),), False),  # 8 of 12
        ((f"{LONG} 15 mm",), (f"{LONG} 1.5 mm",), False),
        ((f"{LONG} sm-a515f",), (f"{LONG} sm-a516f",), False),
        ((f"{LONG} -5",), (f"{LONG} 5",), False),
        ((f"{LONG} C#",), (f"{LONG} C++",), False),
        ((f"{LONG} XL",), (f"{LONG} XS",), False),
        ((f"{LONG} 50%",), (f"{LONG} 50",), False),
        (("red shoe", LONG), ("blue shoe", LONG), False),  # a field for itself, however long the other is
        (("", LONG), ("", LONG.replace("steel", "silver")), True),
        (("", LONG), ("watch", LONG), False),
        ((LONG, "watch"), ("watch", LONG), False),
    ],
)
def test_which_texts_are_near(one: tuple[str, ...], other: tuple[str, ...], is_near: bool) -> None:
    assert near(one, other, 0.8) is is_near
    assert near(other, one, 0.8) is is_near


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=2, max_size=12), st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_similarity_is_that_of_the_words(texts: list[list[str]], threshold: float) -> None:
    sets, _ = columns([(" ".join(words),) for words in texts])
    i, j = (np.array(side) for side in zip(*itertools.combinations(range(len(texts)), 2), strict=True))
    shared = [(set(texts[a]) & set(texts[b]), set(texts[a]) | set(texts[b])) for a, b in zip(i, j, strict=True)]
    assert are_near(sets, i, sets, j, threshold).tolist() == [len(a) >= threshold * len(b) - 1e-9 for a, b in shared]


def test_a_candidate_behind_others_is_found() -> None:
    rows = [("red shoe",), ("blue shirt",), ("cotton shirt",), ("shirt cotton",)]
    sets, _ = columns(rows)
    first, count = np.zeros(4, int), np.array([0, 1, 2, 3])
    place = np.array([1, 0, 2, 3])
    assert any_near(sets, sets, place, first, count, 0.9).tolist() == [False, True, False, True]
    assert any_near(sets, sets, place, first, np.array([0, 0, 2, 2]), 0.9).tolist() == [False] * 4


@pytest.mark.parametrize(("last", "found"), [(1, False), (0, True)])
def test_of_very_many_candidates_the_first_are_compared(last: int, found: bool) -> None:
    sets, _ = columns([("red shoe",), ("blue shirt",)])
    place = np.array([1] * (LEADERS - 1) + [last])  # whoever looked behind these would meet an IndexError
    assert any_near(sets, sets, place, np.array([0]), np.array([10**9]), 0.9).tolist() == [found]


def test_very_many_held_out_texts_of_one_band_cost_little(tmp_path: Path) -> None:
    own, common = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3)], " ".join(WORDS)
    (tmp_path / "held.tsv").write_text("\n".join(["title", *(f"{common} {word}" for word in own)]))
    held = HeldTexts([tmp_path / "held.tsv"], PrepareConfig(("title",)))
    # Of near texts the bound misses few: some band is that of the one word that tells them from the others.
    for more, least, most in (("another", 0.9, 1.0), ("four more words here", 0.0, 0.0)):
        sets, exact = columns([(f"{common} {more} {word}",) for word in own[:1000]])
        keys, begin = band_keys(sets, exact, 0.8), time.process_time()
        assert least <= held.are_near(sets, keys).mean() <= most
        assert time.process_time() - begin < 5  # 10^8 comparisons would take minutes


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_pairs_at_the_threshold_are_found(threshold: float) -> None:
    random.seed(1)
    words = [f"{a}{b}{c}" for a, b, c in itertools.product("bdfglmnprst", "aeiou", ["nd", "rk", "lt", "mp"])]
    rows = []
    for _ in range(1500):
        union = random.sample(words, 20)
        shared, rest = union[: round(20 * threshold)], union[round(20 * threshold) :]
        rows += [(" ".join(shared + rest[::2]),), (" ".join(shared + rest[1::2]),)]
    keys = band_keys(*columns(rows), threshold)
    assert keys.shape == (3000, bands(threshold)[0])
    found = (keys[::2] == keys[1::2]).any(1).mean()
    assert found >= 0.98  # 0.99 is meant; three standard deviations are 0.008
    others = (keys[:-2:2] == keys[3::2]).any(1).mean()
    assert others < 0.5


def test_texts_with_other_numbers_are_no_candidates() -> None:
    keys = band_keys(*columns([(f"{LONG} {n} mm",) for n in range(100)]), 0.8)
    assert len(np.unique(keys)) == keys.size


def test_a_word_counts_in_its_own_field_alone() -> None:
    fields = ("red shoe", "blue shirt", "cotton leather", "summer kids")
    keys = band_keys(*columns([(*fields[i:], *fields[:i]) for i in range(4)]), 0.8)
    assert len(np.unique(keys)) == keys.size
