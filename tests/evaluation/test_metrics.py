import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.harness import labelled, labelled_classes, seeds
from tfb2d.data.task import Task
from tfb2d.evaluation import metrics as m
from tfb2d.evaluation import ranking
from tfb2d.evaluation.ranking import group_codes, group_ndcg, ndcg_groups, pair_orders
from tfb2d.evaluation.scores import agreement, distances


@given(seeds, st.integers(2, 200), st.sampled_from([0, 3, 20]))
def test_binary_metrics_are_those_of_sklearn(seed: int, rows: int, steps: int) -> None:
    labels, scores = labelled(seed, rows, steps)
    figures = m.metrics("binary", labels, scores)
    assert figures["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, scores >= 0.5))
    assert figures["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores))
    assert figures["pr_auc"] == pytest.approx(sklearn.metrics.average_precision_score(labels, scores))
    inside = np.clip(scores, m.EPSILON, 1 - m.EPSILON)
    assert figures["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, inside))


@settings(max_examples=30)
@given(seeds, st.integers(0, 100), st.integers(3, 6))
def test_multiclass_metrics_are_those_of_sklearn(seed: int, rows: int, classes: int) -> None:
    labels, scores = labelled_classes(seed, rows, classes)
    figures = m.metrics("multiclass", labels, scores)
    assert figures["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, scores.argmax(1)))
    assert figures["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores, multi_class="ovr"))
    assert figures["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, scores))
    each = [sklearn.metrics.average_precision_score(labels == row, scores[:, row]) for row in range(classes)]
    assert figures["pr_auc"] == pytest.approx(np.mean(each))


@given(seeds, st.lists(st.integers(2, 15), min_size=1, max_size=8), st.sampled_from([0, 2, 10]))
def test_ndcg_is_that_of_sklearn(seed: int, sizes: list[int], steps: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels, scores = generator.integers(0, 5, len(groups)) / 4, generator.random(len(groups))
    scores = np.round(scores * steps) / steps if steps else scores
    figures = group_ndcg(labels, scores, groups)
    for group, ndcg in enumerate(figures):
        rows = groups == group
        if labels[rows].any():
            assert ndcg == pytest.approx(sklearn.metrics.ndcg_score([labels[rows]], [scores[rows]], k=10))
        else:
            assert np.isnan(ndcg)


@given(seeds, st.integers(2, 100))
def test_rankings_do_not_depend_on_the_scale(seed: int, rows: int) -> None:
    labels, scores = labelled(seed, rows, 50)
    groups = np.arange(rows) % 5
    bent = scores**3 / 2
    row, other = (m.metrics("binary", labels, each, groups) for each in (scores, bent))
    assert [row[k] for k in ("roc_auc", "pr_auc", "ndcg10")] == [other[k] for k in ("roc_auc", "pr_auc", "ndcg10")]


@given(seeds, st.integers(1, 100))
def test_turning_everything_round_keeps_accuracy_auc_and_calibration(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    labels, scores = generator.integers(0, 2, rows), generator.random(rows)
    row, other = m.metrics("binary", labels, scores), m.metrics("binary", 1 - labels, 1 - scores)
    for name in ("accuracy", "roc_auc", "log_loss"):
        assert row[name] == pytest.approx(other[name])


@given(st.data())
def test_everything_is_in_range_whatever_the_rows(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["binary", "graded"]))
    rows = data.draw(st.integers(1, 30))
    grades = st.sampled_from([0.0, 1.0]) if kind == "binary" else st.floats(0, 1)
    labels = data.draw(st.lists(grades, min_size=rows, max_size=rows))
    scores = data.draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))
    groups = data.draw(st.lists(st.sampled_from("abc"), min_size=rows, max_size=rows))
    for name, value in m.metrics(kind, labels, scores, groups).items():
        low = -1 if name in ("spearman", "pearson") else 0
        assert value is None or (low - 1e-12 <= value <= 1 + 1e-12) or name == "log_loss"
        assert value is None or np.isfinite(value)


def test_a_perfect_and_a_constant_model() -> None:
    labels = np.array([0, 1] * 20)
    groups = np.arange(40) // 4
    assert m.metrics("binary", labels, labels, groups) == pytest.approx(
        {"accuracy": 1, "roc_auc": 1, "pr_auc": 1, "ndcg10": 1, "ndcg10_all": 1, "ece": 0, "log_loss": 0}, abs=1e-6
    )
    constant = m.metrics("binary", labels, np.full(40, 0.5), groups)
    assert constant["roc_auc"] == 0.5
    assert constant["ece"] == 0
    assert constant["ndcg10"] < 0.8  # as shuffling would, not as luck in the file's order would


def test_calibration_error_by_hand() -> None:
    scores, labels = np.array([0.21, 0.21, 0.99, 0.99]), np.array([0, 1, 1, 1])
    assert m.metrics("binary", labels, scores)["ece"] == pytest.approx((0.29 + 0.01) / 2)
    claims = np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]])
    assert m.metrics("multiclass", [0, 1, 1], claims)["ece"] == pytest.approx((2 * 0.1 + 0.1) / 3)


def test_grades_are_soft_labels() -> None:
    figures = m.metrics("graded", [0.5, 0.25, 1.0], [0.5, 0.25, 0.9])
    entropy = -(np.log(0.5) + 0.25 * np.log(0.25) + 0.75 * np.log(0.75) + np.log(0.9)) / 3
    assert figures["log_loss"] == pytest.approx(entropy)
    assert figures["accuracy"] == figures["roc_auc"] == 1


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc(label: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = m.metrics("binary", [label] * 3, [0.2, 0.4, 0.9], ["a", "a", "b"])
    assert figures["roc_auc"] is None
    assert figures["pr_auc"] is None
    assert (figures["ndcg10"] is None) == (label == 0)
    assert m.metrics("multiclass", [1, 1], [[0.2, 0.8], [0.6, 0.4]])["roc_auc"] is None


def test_a_class_that_no_row_has_is_left_out_of_the_mean() -> None:
    labels, scores = labelled_classes(0, 50, 3)
    wider = np.column_stack([scores * 0.9, np.full(len(scores), 0.1)])
    assert m.metrics("multiclass", labels, wider)["roc_auc"] == m.metrics("multiclass", labels, scores)["roc_auc"]


def test_groups_of_one_row_and_of_no_gain_do_not_count() -> None:
    figures = m.metrics("binary", [1, 0, 0, 0, 1], [0.9, 0.1, 0.2, 0.6, 0.4], ["alone", "none", "none", "two", "two"])
    assert figures["ndcg10"] == pytest.approx(1 / np.log2(3))
    assert figures["ndcg10_all"] == pytest.approx((1 + 0 + 1 / np.log2(3)) / 3)
    assert "ndcg10" not in m.metrics("multiclass", [0, 1], [[0.5, 0.5], [0.5, 0.5]], ["a", "b"])


@given(seeds, st.lists(st.integers(2, 8), min_size=1, max_size=12))
def test_the_mean_over_all_groups_is_that_of_sklearn(seed: int, sizes: list[int]) -> None:
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels, scores = generator.integers(0, 3, len(groups)) // 2, np.round(generator.random(len(groups)), 1)
    figures = m.metrics("binary", labels, scores, groups)
    rows = [groups == group for group in range(len(sizes))]
    each = [sklearn.metrics.ndcg_score([labels[row]], [scores[row]], k=10) for row in rows]
    assert figures["ndcg10_all"] == pytest.approx(np.mean(each))
    relevant = [labels[row].any() for row in rows]
    assert ndcg_groups("binary", labels, groups) == {"all": len(sizes), "counted": sum(relevant)}
    if any(relevant):
        assert figures["ndcg10"] == pytest.approx(np.mean(np.array(each)[relevant]))
    else:
        assert figures["ndcg10"] is None


@settings(max_examples=40)
@given(seeds, st.integers(3, 60), st.sampled_from([3, 50]))
def test_graded_measures_are_those_of_scipy_and_sklearn(seed: int, rows: int, steps: int) -> None:
    generator = np.random.default_rng(seed)
    labels, groups = generator.integers(0, 4, rows) / 3, generator.integers(0, 3, rows)
    labels[:2] = 0, 1
    scores = np.round(np.clip(labels + generator.normal(size=rows), 0, 1) * steps) / steps
    scores[:2] = 0, 1
    figures = m.metrics(Task(("query", "title"), "graded", (), "grade", (1.0, 4.0)), labels, scores, groups)
    assert figures["spearman"] == pytest.approx(scipy.stats.spearmanr(labels, scores).statistic)
    assert figures["pearson"] == pytest.approx(np.corrcoef(labels, scores)[0, 1])
    error = sklearn.metrics.root_mean_squared_error(1 + 3 * labels, 1 + 3 * scores)
    assert figures["rmse"] == pytest.approx(error)
    assert m.metrics("graded", labels, scores)["rmse"] == pytest.approx(error / 3)
    right, pairs = pair_orders(labels, scores, group_codes(groups, rows))
    for code, group in enumerate(dict.fromkeys(groups.tolist())):
        here = groups == group
        if np.ptp(labels[here]) > 0:
            varied = np.ptp(scores[here]) > 0  # equal scores alone are not defined there, and half right here
            somers = scipy.stats.somersd(labels[here], scores[here]).statistic if varied else 0
            assert right[code] / pairs[code] == pytest.approx((1 + somers) / 2)
        else:
            assert pairs[code] == 0
    assert figures["pair_order"] == (pytest.approx(right.sum() / pairs.sum()) if pairs.sum() else None)


def test_pairs_of_a_large_group_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 4, 300) / 3, generator.random(300)
    whole = pair_orders(labels, scores, np.zeros(300, np.int64))
    monkeypatch.setattr(ranking, "PAIRS", 1000)
    assert pair_orders(labels, scores, np.zeros(300, np.int64)) == whole


@settings(max_examples=40)
@given(seeds, st.integers(0, 60), st.integers(3, 5))
def test_macro_f1_is_that_of_sklearn(seed: int, rows: int, classes: int) -> None:
    labels, scores = labelled_classes(seed, rows, classes)
    expected = sklearn.metrics.f1_score(labels, scores.argmax(1), average="macro")
    assert m.metrics("multiclass", labels, scores)["macro_f1"] == pytest.approx(expected)


def test_counted_groups() -> None:
    groups = ["alone", "none", "none", "two", "two"]
    assert ndcg_groups("graded", [1, 0, 0, 0, 0.5], groups) == {"all": 3, "counted": 1}
    assert ndcg_groups("multiclass", [0, 1], ["a", "b"]) is None


def test_a_task_is_as_good_as_its_kind() -> None:
    assert m.metrics(Task(("text",)), [0, 1], [0.1, 0.9]) == m.metrics("binary", [0, 1], [0.1, 0.9])


@pytest.mark.parametrize(
    ("kind", "labels", "scores", "message"),
    [
        ("ranking", [0], [0.5], "kind is 'ranking'"),
        ("binary", [0, 1], [0.5], r"shape \[2\]; the scores have 1 rows"),
        ("binary", [], [], r"shape \[0\]"),
        ("binary", [0], [[0.5]], r"shape \[1, 1\]"),
        ("binary", [0], ["a"], "must be numbers"),
        ("binary", ["0"], [0.5], "labels hold"),
        ("binary", [0, 2, 0.5], [0.5, 0.5, 0.5], "2 rows are not 0 or 1, the first is row 1: 2"),
        ("binary", [0, 1], [0.5, 1.5], "row 1: 1.5"),
        ("binary", [0, 1], [np.nan, 0.5], "row 0: nan"),
        ("graded", [1.5], [0.5], r"in \[0, 1\]"),
        ("graded", [np.nan], [0.5], r"in \[0, 1\]"),
        ("multiclass", [0], [0.5], r"\[rows, classes\]"),
        ("multiclass", [2], [[0.5, 0.5]], "a class from 0 to 1"),
        ("multiclass", [0], [[0.5, 0.2]], "no probabilities"),
    ],
)
def test_arrays_that_do_not_fit_are_named(kind: str, labels: list, scores: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        m.metrics(kind, labels, scores)


def test_groups_must_have_the_rows() -> None:
    with pytest.raises(ValueError, match="1 group values and 2 rows"):
        m.metrics("binary", [0, 1], [0.5, 0.5], ["a"])


def test_agreement_and_distance() -> None:
    assert agreement([0.1, 0.9, 0.5, 0.4], [0.2, 0.4, 0.7, 0.3]).tolist() == [True, False, True, True]
    assert agreement([[0.1, 0.9], [0.6, 0.4]], [[0.2, 0.8], [0.4, 0.6]]).tolist() == [True, False]
    assert distances(np.array([[0.1, 0.9]]), np.array([[0.3, 0.7]])) == pytest.approx([0.2])
    with pytest.raises(ValueError, match=r"teacher_scores are \[2\], student_scores \[1\]"):
        agreement([0.1, 0.2], [0.1])
