import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.offers.queries import KINDS, draw_kind, is_code, typed

NAME = "Bosch Serie Four KGN36NW30G White"


def test_kinds() -> None:
    drawn = [draw_kind(random.Random(i)) for i in range(2000)]
    for kind, share in KINDS.items():
        assert drawn.count(kind) / 2000 == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("seed", range(30))
def test_what_each_kind_does(seed: int) -> None:
    words = NAME.lower().split()
    query = {kind: typed(NAME, kind, random.Random(seed)) for kind in KINDS}
    assert query["whole"] == NAME.lower()
    dropped = query["dropped"].split()
    assert "kgn36nw30g" in dropped
    assert 4 <= len(dropped) + 1 <= 5
    assert dropped == [word for word in words if word in dropped]
    assert sorted(query["reordered"].split()) == sorted(words)
    assert query["reordered"] != NAME.lower()
    wrong = set(query["misspelled"].split())
    assert 4 <= len(wrong & set(words)) < 5 or query["misspelled"] == NAME.lower()


@given(st.text(max_size=40), st.sampled_from(list(KINDS)), st.integers())
def test_any_name(name: str, kind: str, seed: int) -> None:
    query = typed(name, kind, random.Random(seed))
    assert typed(name, kind, random.Random(seed)) == query
    assert bool(query) == bool(name.split())
    if kind != "misspelled":
        assert set(query.split()) <= set(name.lower().split())
        assert set(filter(is_code, name.lower().split())) <= set(query.split())
