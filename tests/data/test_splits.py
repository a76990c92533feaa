from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import DataConfig
from tfb2d.data.splits import Cutter, HeldOut, text_rows


@given(st.text(min_size=1), st.text(), st.integers(0, 5))
def test_a_group_is_never_torn(text, group, seed):
    cutter = Cutter(DataConfig(split_seed=seed, test_fraction=0.3, valid_fraction=0.3))
    if group:
        assert cutter.split([text], group) == cutter.split(["something else"], f" {group}\t")
    assert cutter.split([text]) == cutter.split([f"{text} "])


def test_shares_and_seeds():
    data = DataConfig(test_fraction=0.2, valid_fraction=0.1)
    places = [Cutter(data).split(["text"], str(i)) for i in range(20_000)]
    counts = Counter(places)
    assert counts["test"] == pytest.approx(4000, rel=0.05)
    assert counts["valid"] == pytest.approx(2000, rel=0.05)
    other = Cutter(DataConfig(test_fraction=0.2, valid_fraction=0.1, split_seed=1))
    assert sum(other.split(["text"], str(i)) == place for i, place in enumerate(places)) == pytest.approx(
        10_800, rel=0.05
    )


def test_nothing_is_cut_where_files_are_given():
    cutter = Cutter(DataConfig(valid=("v",), test=("t",)))
    assert {cutter.split([str(i)]) for i in range(100)} == {"train"}
    cutter = Cutter(DataConfig(test=("t",), valid_fraction=0.5))
    assert {cutter.split([str(i)]) for i in range(100)} == {"train", "valid"}


def test_the_cut_does_not_move_between_versions():
    cutter = Cutter(DataConfig(test_fraction=0.3, valid_fraction=0.3))
    places = [cutter.split([text]) for text in ("a film", "ein Film", "un film", "映画", "фильм", "!?")]
    assert places == ["train", "train", "train", "valid", "valid", "train"]


def test_leaks():
    held = HeldOut()
    held.add("test", [(("red shoes", "Red running shoes"), "q1")])
    held.add("valid", [(("blue", "blue hat"), "q2")])
    assert held.leak(("Red Shoes!", "red running-shoes"), "q9") == "leaked"
    assert held.leak(("blue", "Blue hat"), "q9") == "leaked_valid"
    assert held.leak(("shoes red", "running red shoes red"), "q9") == "near_leaked"
    assert held.leak(("red", "shoes"), "Q1") == "group_leaked"
    assert held.leak(("red", "shoes"), "q3") == ""
    assert held.leak(("red shoes", "another title"), "") == ""


def test_test_comes_before_valid():
    held = HeldOut()
    held.add("test", [(("same",), "")])
    held.add("valid", [(("same",), "")])
    assert held.leak(("same",)) == "leaked"


def test_keep_counts_what_it_drops():
    held = HeldOut()
    held.add("test", [(("a b",), "")])
    batch = pa.record_batch({"text": ["A, B", "c", "b a", "a b"]})
    counts: Counter[str] = Counter()
    kept = held.keep(batch, ("text",), counts)
    assert text_rows(kept, ("text",)) == [(("c",), "")]
    assert counts == {"leaked": 2, "near_leaked": 1}
