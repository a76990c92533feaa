from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.retrieve.retriever import Retriever, pieces

TITLES = ["bosch fridge white", "bosch kgn36nw30g fridge", "bosch kgn36nl30g", "red shoe 64 gb", "white shoe"]


def test_pieces_are_cut_between_letters_and_digits() -> None:
    assert pieces('KGN36-nw 64GB, Übergröße 5.5"') == ["kgn", "36", "nw", "64", "gb", "übergröße", "5", "5"]


def test_nearest() -> None:
    retriever = Retriever(TITLES)
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
