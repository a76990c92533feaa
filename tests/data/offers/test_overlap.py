import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.offers.overlap import Overlap

TITLES = ["bosch fridge white", "bosch kgn36nw30g fridge", "bosch kgn36nl30g", "red shoe", "white shoe"]


def test_nearest() -> None:
    nearest = Overlap(TITLES).nearest(["KGN36NW30G", "red shoe", "nothing here", ""], 3)
    assert nearest.dtype == np.int32
    assert nearest.tolist() == [[1, 2, -1], [3, 4, -1], [-1, -1, -1], [-1, -1, -1]]


def test_no_titles() -> None:
    assert Overlap([]).nearest(["a"], 2).tolist() == [[-1, -1]]


@given(st.lists(st.text("ab1 ", max_size=8), max_size=12), st.text("ab1 ", max_size=8))
def test_order_does_not_depend_on_how_many_are_asked_for(titles: list[str], query: str) -> None:
    index = Overlap(titles)
    every = index.nearest([query, query], len(titles) + 3)
    assert (every[0] == every[1]).all()
    assert (index.nearest([query], 3)[0] == every[0][:3]).all()
    words = set(query.split())
    sharing = {i for i, title in enumerate(titles) if words & set(title.split())}
    assert sharing <= set(every[0][every[0] >= 0].tolist())
