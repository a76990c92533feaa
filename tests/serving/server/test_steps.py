"""Requests that share a run: each has what it would have alone, and in fewer runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.steps import Work, alone, together


class Run:
    """Doubles its rows; refuses a run that holds a negative one; keeps what it was given."""

    def __init__(self, shape=None):
        self.sizes, self.limits, self.shape = [], [], shape

    def __call__(self, feeds, fetches, seconds):
        array = feeds["x"]
        self.sizes.append(len(array))
        self.limits.append(seconds)
        if (array < 0).any():
            raise StatusError(Code.INVALID_ARGUMENT, "negative")
        return [np.zeros(self.shape) if self.shape else array * 2 for _ in fetches]


def step(run, values, seconds=1.0, joins=True, fetches=("y",), width=None):
    """A request that is checked first and whose answer is a list of rows."""
    if 0 in values:
        raise StatusError(Code.NOT_FOUND, "no zeros")
    array = np.array(values, np.float32)
    array = array if width is None else np.tile(array[:, None], (1, width))
    try:
        outputs = yield Work(run, {"x": array}, fetches, seconds, joins)
    except StatusError as error:
        raise StatusError(error.code, f"seen: {error.message}") from None
    return [array.tolist() for array in outputs]


def outcome(answer):
    return str(answer) if isinstance(answer, Exception) else answer


def by_itself(request):
    try:
        return outcome(alone(request))
    except StatusError as error:
        return str(error)


requests = st.fixed_dictionaries(
    {
        "values": st.lists(st.integers(-1, 30), max_size=4),
        "seconds": st.sampled_from([None, 1.0, 2.0]),
        "joins": st.booleans(),
        "fetches": st.sampled_from([("y",), ("y", "z")]),
        "width": st.sampled_from([None, 1, 3]),
    }
)


@given(st.lists(requests, max_size=12))
def test_each_has_the_answer_that_it_has_alone(requests_given):
    run = Run()
    expected = [by_itself(step(run, **request)) for request in requests_given]
    assert [outcome(request) for request in together([step(run, **request) for request in requests_given])] == expected


def test_those_of_a_kind_share_a_run():
    run, other = Run(), Run()
    steps = [step(run, [1]), step(other, [2]), step(run, [3, 4]), step(run, [5], width=2), step(run, [6], joins=False)]
    steps += [step(run, [7], fetches=("z",)), step(run, [8])]
    assert together(steps) == [[[2]], [[4]], [[6, 8]], [[[10, 10]]], [[12]], [[14]], [[16]]]
    assert (sorted(run.sizes), other.sizes) == ([1, 1, 1, 4], [1])


@pytest.mark.parametrize(("limits", "longest"), [([1.0, 3.0], 3.0), ([1.0, None], None)])
def test_a_shared_run_has_the_longest_time(limits, longest):
    run = Run()
    together([step(run, [1], seconds) for seconds in limits])
    assert run.limits == [longest]


def test_one_without_time_left_runs_with_nobody():
    run = Run()
    together([step(run, [1], 0.0), step(run, [2], 1.0), step(run, [3], None)])
    assert sorted(run.sizes) == [1, 2]


def test_errors_leave_no_cycles_behind():
    """Their frames hold requests, which are large and few: the cyclic collector, which counts objects, would come late."""
    import gc
    import weakref

    class Kept(list):
        pass

    gc.collect()
    gc.disable()
    try:
        seen = []
        for values in ([-1], [0], [1, -1]):
            kept = Kept(values)
            seen.append(weakref.ref(kept))
            answers = together([step(Run(), kept), step(Run(), [2])])
            assert isinstance(answers[0], StatusError)
            del kept, answers
        assert [reference() for reference in seen] == [None] * 3
    finally:
        gc.enable()


def test_one_that_is_refused_costs_the_others_nothing():
    run = Run()
    answers = together([step(run, [1]), step(run, [-1]), step(run, [0]), step(run, [2])])
    assert list(map(outcome, answers)) == [
        [[2]],
        "INVALID_ARGUMENT: seen: negative",
        "NOT_FOUND: no zeros",
        [[4]],
    ]
    assert run.sizes == [3, 1, 2, 1, 1]


def test_a_bad_request_costs_its_neighbours_few_runs(caplog):
    """Halves of a refused run are tried, not all requests one by one; the log says so."""
    run = Run()
    with caplog.at_level("INFO"):
        answers = together([step(run, [-1 if index == 21 else 1]) for index in range(32)])
    assert [isinstance(answer, StatusError) for answer in answers].index(True) == 21
    assert sum(answer == [[2]] for answer in answers) == 31
    assert len(run.sizes) == 11
    assert "a run of 32 requests was refused (INVALID_ARGUMENT)" in caplog.text


def test_what_fails_for_all_is_logged(caplog):
    def broken(feeds, fetches, seconds):
        raise RuntimeError("request text")

    together([step(broken, [1]), step(broken, [2])])
    assert "a run of 2 requests failed" in caplog.text
    assert "request text" not in caplog.text
    caplog.clear()
    together([step(Run((5,)), [1]), step(Run((5,)), [2])])
    run = Run((5,))
    together([step(run, [1]), step(run, [2])])
    assert "outputs of y do not have a row for each input row" in caplog.text


def test_a_shared_run_that_exceeds_its_time_is_not_tried_again():
    sizes = []

    def late(feeds, fetches, seconds):
        sizes.append(len(feeds["x"]))
        raise StatusError(Code.DEADLINE_EXCEEDED, "late")

    answers = together([step(late, [1]), step(late, [2])])
    assert {str(answer) for answer in answers} == {"DEADLINE_EXCEEDED: seen: late"}
    assert sizes == [2]


@pytest.mark.parametrize("shape", [(1,), (5,)])
def test_outputs_that_are_not_rows_are_shared_with_nobody(shape):
    """A model that says its rows are independent, wrongly."""
    run = Run(shape)
    assert together([step(run, [1]), step(run, [2])]) == [[np.zeros(shape).tolist()]] * 2
    assert run.sizes == [2, 1, 1]


def test_what_nobody_foresaw_is_the_answer_of_its_request_alone():
    def broken(feeds, fetches, seconds):
        raise MemoryError

    run = Run()
    answers = together([step(broken, [1]), step(run, [1]), step(broken, [2])])
    assert [type(answer) for answer in answers] == [MemoryError, list, MemoryError]
    with pytest.raises(MemoryError):
        alone(step(broken, [1]))
