"""Distractors: words of real titles, never a real title, always the same."""

from itertools import islice

import pytest

from tests.search.shop import TITLES
from tfb2d.data.keys import text_key
from tfb2d.errors import DataError
from tfb2d.search.comparison import distractors


def test_none_is_a_real_title_or_stands_twice() -> None:
    made = list(distractors(TITLES, 2000, seed=3))
    keys = {text_key(title) for title in made}
    assert len(keys) == len(made) == 2000
    assert not keys & {text_key(title) for title in TITLES}
    words = {word for title in TITLES for word in title.split()}
    assert all(set(title.split()) <= words for title in made)


def test_a_seed_gives_always_the_same_of_which_fewer_are_the_first() -> None:
    assert list(distractors(TITLES, 50, 1)) == list(islice(distractors(TITLES, 500, 1), 50))
    assert list(distractors(TITLES, 50, 1)) != list(distractors(TITLES, 50, 2))


@pytest.mark.parametrize("titles", [[], ["", " "], ["usb cable"]])
def test_too_few_words_are_refused(titles: list[str]) -> None:
    with pytest.raises(DataError, match=r"recombined|too few words"):
        list(distractors(titles, 10))
