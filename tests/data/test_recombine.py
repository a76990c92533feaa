from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import AugmentConfig, ConfigError, DataConfig
from tfb2d.config.data import CONJUNCTIONS
from tfb2d.data.recombine import LONGEST, Recombiner, clause_starts

FILMS = [
    "the plot is thin, but the cast is warm and funny",
    "a dull plot , though the cast is a delight .",
    "I left when the cast is introduced; what a bore!",
]
words = st.sampled_from(["a", "b", "c,", "but", ";", "d.", "E", "é", "and"])
texts = st.lists(st.lists(words, max_size=12).map(" ".join), max_size=12)


def triples(text: str) -> set[tuple[str, ...]]:
    split = text.split()
    return set(zip(split, split[1:], split[2:], strict=False))


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        (FILMS[0], ["the plot is thin,", "but the cast is warm", "and funny"]),
        (FILMS[1], ["a dull plot ,", "though the cast is a delight ."]),
        (FILMS[2], ["I left", "when the cast is introduced;", "what a bore!"]),
        ("But why", ["But why"]),
        ("no end ;", ["no end ;"]),
    ],
)
def test_clauses(text: str, clauses: list[str]) -> None:
    split = text.split()
    starts = clause_starts(split, frozenset(CONJUNCTIONS))
    assert [" ".join(split[first:last]) for first, last in pairwise(starts)] == clauses


def test_clauses_are_parts_and_never_whole_texts() -> None:
    made = set(Recombiner(FILMS, CONJUNCTIONS, 0).clauses(200))
    assert "but the cast is warm and funny" in made
    assert all(any(text in film for film in FILMS) for text in made)
    assert not made & set(FILMS)


def test_crossings_go_on_as_another_text() -> None:
    made = set(Recombiner(FILMS, CONJUNCTIONS, 0).crossings(200))
    assert "the plot is thin, but the cast is a delight ." in made
    known = set.union(*map(triples, FILMS))
    assert all(triples(text) <= known for text in made)
    assert not made & set(FILMS)


def test_what_is_made_depends_on_texts_and_seed() -> None:
    first, again, other = (list(Recombiner(FILMS, CONJUNCTIONS, seed).crossings(20)) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 20


@given(texts, st.integers(0, 3))
def test_any_texts(texts: list[str], count: int) -> None:
    known = set().union(*map(triples, texts))
    for made in (Recombiner(texts, ("but",), 0).clauses(count), Recombiner(texts, ("but",), 0).crossings(count)):
        made = list(made)
        assert len(made) <= count
        assert all(2 <= len(text.split()) <= LONGEST and triples(text) <= known for text in made)


def test_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match="clauses and crossings is for single texts"):
        DataConfig(train=("x.tsv",), fields=("query", "title"), augment=AugmentConfig(clauses=1))
