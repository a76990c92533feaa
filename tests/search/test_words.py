"""Words of titles and queries: nothing that a shopper types is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.search.lexical import words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("USB-C 5 m 4K not for iPhone X", "usb c usbc 5 m 4k 4 k not for iphone x"),
        ("usb c", "usb c"),
        ("64GB 64 gb", "64gb 64 gb 64 gb"),
        ("1.5 l, 1,5 l", "1.5 l 1.5 l"),
        ("f/2.8 lens", "f 2.8 f2.8 lens"),
        ("C++ und C#", "c++ c und c# c"),
        ("Café CAFE\u0301 Kühlschrank", "cafe cafe kuhlschrank"),
        ("ﬁne ４K", "fine 4k 4 k"),
        ("wh-1000xm4", "wh 1000xm4 wh1000xm4"),
        ("don't", "don t dont"),
        ("冰箱 x", "冰 箱 x"),
        ("हिन्दी किताब", "हिन्दी किताब"),
        ("--- !!! ...", ""),
        ("", ""),
        ("(red) *bold* size:10 50%", "red bold size 10 50"),
        ("#1 seller", "1 seller"),
    ],
)
def test_tokens(text: str, tokens: str) -> None:
    assert words(text) == tokens.split()


@given(st.text(max_size=60))
def test_every_text_has_the_words_of_its_letters_and_digits(text: str) -> None:
    tokens = words(text)
    assert all(token and not token.isspace() for token in tokens)
    if any(char.isascii() and char.isalnum() for char in text):
        assert tokens
    assert words(text.upper().lower()) == words(text.upper().lower().upper().lower())


@given(st.lists(st.sampled_from(["usb", "c", "5", "m", "4k", "x", "64gb", "usb-c", "1.5", "not"]), max_size=8))
def test_a_title_has_all_tokens_of_each_of_its_words(parts: list[str]) -> None:
    title = words(" ".join(parts))
    for part in parts:
        assert set(words(part)) <= set(title)
