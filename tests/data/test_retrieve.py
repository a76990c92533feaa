import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.harness import phrase
from tfb2d.config import ConfigError, DataConfig, RetrieveConfig
from tfb2d.data.retrieve import Retriever, pieces, query_of, title_queries, unlabelled_pairs

DRAW = random.Random(0)
QUERIES = list(dict.fromkeys(phrase(DRAW, 2) for _ in range(60)))
TITLES = list(dict.fromkeys(phrase(DRAW, 7) for _ in range(900)))


def made(queries: list[str], config: RetrieveConfig, held: set[str] = frozenset()) -> tuple[list, Counter[str]]:
    counts: Counter[str] = Counter()
    return list(unlabelled_pairs(queries, TITLES, config, held.__contains__, counts)), counts


def test_kinds_of_titles() -> None:
    pairs, counts = made(QUERIES, RetrieveConfig(nearest=3, near_misses=2, random=2, title_queries=0))
    assert len(set(pairs)) == len(pairs)
    assert counts["queries"] == 60
    assert counts["titles"] == len(TITLES)
    assert counts["title_queries"] == 0
    assert counts["nearest"] == 180
    assert 100 < counts["near_misses"] <= 120
    assert 100 < counts["random"] <= 120
    assert len(pairs) == counts["nearest"] + counts["near_misses"] + counts["random"]
    by_query = defaultdict(list)
    for query, title in pairs:
        by_query[query].append(len(set(query.split()) & set(title.split())))
    assert list(by_query) == QUERIES
    for shared in by_query.values():
        assert min(shared[:3]) >= 1
        assert max(shared[:3]) >= max(shared[3:5])
    assert sum(max(shared[5:], default=0) == 0 for shared in by_query.values()) > 40  # random titles


def test_a_query_keeps_its_pairs_whatever_the_others_are() -> None:
    config = RetrieveConfig(title_queries=0)
    some = [pair for pair in made(QUERIES, config)[0] if pair[0] in QUERIES[10:20]]
    assert made(QUERIES[10:20], config)[0] == some
    assert made(QUERIES[10:20], RetrieveConfig(title_queries=0, seed=1))[0] != some


def test_held_out_queries_are_left_out() -> None:
    held = set(QUERIES[::2])
    pairs, counts = made(QUERIES, RetrieveConfig(), held)
    assert not held & {query for query, _ in pairs}
    assert counts["held_out_queries"] == 30
    assert counts["queries"] == 30


def test_queries_made_of_titles_fill_up() -> None:
    pairs, counts = made(QUERIES, RetrieveConfig(nearest=4, near_misses=0, random=1, pairs=1000))
    assert counts["queries"] == 60
    assert counts["title_queries"] == 140
    assert 980 <= len(pairs) <= 1000
    new = {query for query, _ in pairs} - set(QUERIES)
    assert {len(query.split()) for query in new} == {2}  # as the queries
    assert made(QUERIES, RetrieveConfig(pairs=10**6))[1]["title_queries"] <= len(TITLES)


def test_of_too_many_queries_some_are_drawn() -> None:
    config = RetrieveConfig(nearest=4, near_misses=0, random=1, pairs=100)
    pairs, counts = made(QUERIES, config)
    assert counts["queries"] == 20
    assert counts["title_queries"] == 0
    assert len(pairs) <= 100
    others = made(QUERIES[::-1], config)[0]
    assert {query for query, _ in others} == {query for query, _ in pairs}


def test_title_queries() -> None:
    queries = list(title_queries(TITLES, [1, 3], 2, 0))
    assert len(queries) == 2 * len(TITLES)
    assert sorted({len(query.split()) for query in queries}) == [1, 3]
    assert queries == list(title_queries(TITLES, [1, 3], 2, 0)) != list(title_queries(TITLES, [1, 3], 2, 1))
    draw = random.Random(0)
    assert query_of("One", 5, draw) == "one"
    orders = {query_of("a b c d", 2, draw) for _ in range(200)}
    assert {"a b", "b a", "a d"} < orders


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RetrieveConfig(nearest=-1), "nearest is -1"),
        (lambda: RetrieveConfig(nearest=0, near_misses=0, random=0), "no title"),
        (lambda: RetrieveConfig(pairs=0), "above 0"),
        (lambda: DataConfig(queries=("a.txt",)), "make pairs"),
    ],
)
def test_settings_that_cannot_work(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


SHOP = ["bosch fridge white", "bosch kgn36nw30g fridge", "bosch kgn36nl30g", "red shoe 64 gb", "white shoe"]


def test_pieces_are_cut_between_letters_and_digits() -> None:
    assert pieces('KGN36-nw 64GB, Übergröße 5.5"') == ["kgn", "36", "nw", "64", "gb", "übergröße", "5", "5"]


def test_nearest() -> None:
    retriever = Retriever(SHOP)
    assert retriever.nearest("KGN36NW30G", 2).tolist() == [1, 2]
    assert retriever.nearest("64gb", 5).tolist() == [3]
    assert set(retriever.nearest("white", 5).tolist()) == {0, 4}
    assert retriever.nearest("nothing", 5).tolist() == []
    assert retriever.nearest("", 5).tolist() == []


def test_titles_without_a_word() -> None:
    assert Retriever([]).nearest("a", 2).tolist() == []
    assert Retriever(["!", "?"]).nearest("a", 2).tolist() == []
    assert Retriever(["!", "a"]).nearest("a", 2).tolist() == [1]


@given(st.lists(st.text("ab1 ", max_size=8), max_size=12), st.text("ab1 ", max_size=8))
def test_nearest_titles_are_those_that_share_a_word_and_fewer_are_the_first_of_more(
    titles: list[str], query: str
) -> None:
    retriever = Retriever(titles)
    every = retriever.nearest(query, len(titles) + 3).tolist()
    assert set(every) == {i for i, title in enumerate(titles) if set(pieces(title)) & set(pieces(query))}
    assert retriever.nearest(query, 3).tolist() == every[:3]
