"""Words are hashed as the texts that they stand in, whatever these hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.students.harness import NASTY
from tfb2d.edge import strings
from tfb2d.edge.strings import WordHashes
from tfb2d.students import text_spec

TEXTS = st.lists(st.one_of(st.text(max_size=12), st.binary(max_size=12), st.sampled_from(NASTY)), max_size=5)
SPACES = [chr(code) for code in range(0x110000) if chr(code).isspace()]


@given(TEXTS, st.sampled_from([1, 3, 64]), st.sampled_from([(), (2, 3)]))
def test_words_have_the_hashes_of_texts(texts: list[str | bytes], max_tokens: int, affixes: tuple[int, ...]) -> None:
    hashes, lengths = WordHashes(affixes).of(texts, max_tokens)
    expected = [text_spec.token_hashes(text, max_tokens, affixes) for text in texts]
    np.testing.assert_array_equal(hashes, np.concatenate([*expected, np.zeros(0, np.int64)]))
    assert lengths.tolist() == [len(row) for row in expected]


def test_folding_makes_a_blank_of_all_white_space() -> None:
    assert all(text_spec.fold_table().get(ord(space)) == 32 for space in SPACES if space != " ")


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "KEPT", 3)
    words = WordHashes()
    words.of(["a b c d e"], 9)
    assert len(words) <= 3
    np.testing.assert_array_equal(words.of(["a b c d e"], 9)[0], text_spec.token_hashes("a b c d e", 9))
