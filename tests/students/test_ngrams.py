"""Keys of n-grams: their rows are those of the hash spec, and counting them is exact."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.students import ngrams, text_spec
from tfb2d.students.hashing import hash_rows

TEXTS = st.lists(st.text("ab c", max_size=12), min_size=1, max_size=6)


@given(TEXTS, st.integers(1, 2**31 - 1))
def test_the_rows_of_keys_are_those_of_the_spec(texts: list[str], buckets: int) -> None:
    parts = [text_spec.token_hashes(text, 9) for text in texts]
    splits = np.cumsum([0, *map(len, parts)])
    hashes = np.concatenate(parts)
    keys = text_spec.ngram_keys(hashes, (1, 2, 4), splits)
    expected = text_spec.ngram_ids(hashes, (1, 2, 4), buckets, splits)
    np.testing.assert_array_equal(text_spec.rows_of(keys, buckets), expected)
    assert text_spec.rows_of(keys, buckets).dtype == np.int32


def test_names_show_the_mark_behind_the_last_token() -> None:
    assert ngrams.names([b"a", b"b"], 1) == ["a", "b"]
    assert ngrams.names([b"a", b"b"], 2) == ["a b", "b ⊣"]
    assert ngrams.names([], 2) == []


def test_distinct_ngrams_are_counted_in_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ngrams, "TOKENS", 7)
    rng = np.random.default_rng(0)
    texts = np.array([" ".join(rng.choice(list("abcde"), rng.integers(0, 6))) for _ in range(60)], object)
    rows = hash_rows([texts], np.zeros((60, 1), np.float32), tmp_path / "rows", 9)
    for index in (None, np.arange(0, 60, 3)):
        chosen = texts if index is None else texts[index]
        expected = Counter(name for text in chosen for name in ngrams.names([w.encode() for w in text.split()], 2))
        keys, counts = ngrams.distinct(rows, 2, index)
        assert sorted(counts) == sorted(expected.values())
        assert (np.diff(keys.astype(object)) > 0).all()
