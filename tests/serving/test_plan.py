import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.serving import Backoff, channel, plan
from tfb2d.serving.plan import Signature, Tensor

TEXT = Tensor("string", (-1,))
PAIR = Signature("serving_default", {"query": TEXT, "title": TEXT}, {"score": Tensor("float32", (-1,))})
RANK = Signature("rank", {"head": TEXT, "titles": Tensor("string", (-1, -1))}, {})


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 24), st.randoms(use_true_random=False))
def test_ranking_in_groups_keeps_every_score_in_its_place(lengths, cells, random):
    truth = [np.array([random.random() for _ in range(length)], np.float32) for length in lengths]
    groups = plan.rank_groups(lengths, cells)
    answers = []
    for group in groups:
        width = max(piece.stop - piece.start for piece in group)
        assert len(group) * width <= cells
        assert all(piece.start < piece.stop for piece in group)
        padded = np.full((len(group), width + random.choice([0, 3])), np.nan, np.float32)
        for row, piece in zip(padded, group, strict=True):
            row[: piece.stop - piece.start] = truth[piece.query][piece.start : piece.stop]
        answers.append(padded)
    for scores, expected in zip(plan.scatter(groups, answers, lengths), truth, strict=True):
        np.testing.assert_array_equal(scores, expected)


@given(st.integers(0, 200), st.integers(1, 50))
def test_slices_cover_in_order(n, size):
    parts = list(plan.slices(n, size))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all(0 < part.stop - part.start <= size for part in parts)


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.binary())))
def test_columns_are_utf8_in_row_order(rows):
    table = plan.columns(rows, PAIR, ("query", "title"))
    assert list(zip(table["query"], table["title"], strict=True)) == [(a.encode(), b) for a, b in rows]
    named = plan.columns([{"title": b, "query": a} for a, b in rows], PAIR, None)
    assert named == table


@pytest.mark.parametrize(
    ("row", "error", "word"),
    [
        ("alone", ValueError, "row 1 has 1 text; 'serving_default' takes 2: query, title"),
        (("a", "b", "c"), ValueError, "row 1 has 3 texts"),
        ({"query": "a"}, ValueError, r"row 1 has \['query'\]"),
        (("a", None), TypeError, "row 1, field 'title', is NoneType"),
        (("a", "\ud800"), ValueError, "row 1, field 'title', holds half a surrogate pair"),
        (7, ValueError, "row 1 has 1 text"),
    ],
)
def test_rows_that_do_not_fit_are_named(row, error, word):
    with pytest.raises(error, match=word):
        plan.columns([("fine", "row"), row], PAIR, ("query", "title"))


def test_field_order():
    item = Signature("s", {"text": TEXT}, {})
    pair = Signature("s", {"product": TEXT, "head": TEXT}, {})
    assert plan.field_order({}, item) == ("text",)
    assert plan.field_order({}, PAIR) == ("query", "title")
    assert plan.field_order({"rank": RANK}, pair) == ("head", "product")
    assert plan.field_order({}, pair, ("product", "head")) == ("product", "head")
    with pytest.raises(ValueError, match="does not say in which order"):
        plan.field_order({}, pair)
    with pytest.raises(ValueError, match="are not the inputs"):
        plan.field_order({}, pair, ("head", "title"))


def test_the_output_named_or_the_usual_or_the_only_one():
    both = Signature("s", {}, {"a": TEXT, "b": TEXT})
    assert both.output("b", "a") == "b"
    assert both.output("", "x", "a") == "a"
    assert PAIR.output("", "x") == "score"
    with pytest.raises(ValueError, match="has no output 'x'; it has a, b"):
        both.output("", "x")
    with pytest.raises(ValueError, match="has no output 'logit'; it has score"):
        PAIR.output("logit", "score")


def test_answers_of_another_size_are_told():
    with pytest.raises(ValueError, match=r"shape \(2,\) for 3 rows"):
        plan.join([np.zeros(2)], [3], "output")
    with pytest.raises(ValueError, match=r"shape \(1, 2\) for \(1, 3\) titles"):
        plan.scatter(plan.rank_groups([3], 8), [np.zeros((1, 2))], [3])


@given(st.integers(0, 10_000), st.floats(0, 100), st.floats(1e-3, 10), st.floats(1, 100))
def test_pauses_are_jittered_within_bounds(attempt, remaining, initial, growth):
    backoff = Backoff(initial, initial * growth)
    pause = backoff.pause(attempt, remaining)
    assert 0 <= pause <= min(remaining, backoff.bound(attempt))
    assert backoff.bound(attempt) <= backoff.maximum
    assert backoff.bound(0) == initial


def test_jitter_is_full():
    draws = np.array([Backoff(0.1, 10).pause(3, 60) for _ in range(4000)]) / 0.8
    assert draws.min() < 0.01
    assert draws.max() > 0.99
    assert abs(draws.mean() - 0.5) < 0.03  # 6 standard errors
    with pytest.raises(ValueError, match="0 < initial <= maximum"):
        Backoff(2, 1)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:8500", "localhost:8500"),
        ("[::1]:8500", "[::1]:8500"),
        ("/run/serving.sock", "unix:/run/serving.sock"),
        ("unix:/run/serving.sock", "unix:/run/serving.sock"),
        ("dns:///serving:8500", "dns:///serving:8500"),
    ],
)
def test_addresses(address, expected):
    assert channel.target(address) == expected


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":8500", "h:99999", "http://h:8501", "h:port"])
def test_addresses_that_cannot_be(address):
    with pytest.raises(ValueError, match="address"):
        channel.target(address)


def test_own_channel_options_win():
    options = dict(channel.channel_options(None, 30, [("grpc.max_reconnect_backoff_ms", 5000), ("grpc.lb", "x")]))
    assert options["grpc.max_reconnect_backoff_ms"] == 5000
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.lb"] == "x"
