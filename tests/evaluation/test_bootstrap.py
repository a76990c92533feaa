import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.evaluation.harness import labelled, labelled_classes, seeds
from tfb2d.data.task import Task
from tfb2d.evaluation import bootstrap as b
from tfb2d.evaluation import metrics as m
from tfb2d.evaluation.bootstrap import Bootstrap, Interval
from tfb2d.evaluation.metrics import CountedMetrics
from tfb2d.evaluation.ranking import every_group_ndcg, group_ndcg
from tfb2d.evaluation.scores import hits


def bootstrap(kind: str, labels: object, scores: object, groups: object = None, **draws: int) -> dict[str, Interval]:
    """Returns the metrics and intervals of a single model."""
    return Bootstrap(kind, labels, {"scores": scores}, groups, **draws).intervals("scores")


@given(seeds, st.integers(3, 60), st.sampled_from([0, 4]), st.integers(0, 20))
def test_counted_rows_measure_as_repeated_rows_do(seed: int, rows: int, steps: int, draw: int) -> None:
    labels, scores = labelled(seed, rows, steps)
    counts = np.random.default_rng(draw).integers(0, 3, rows)
    counts[:2] = 1
    repeated = np.repeat(np.arange(rows), counts)
    expected = m.metrics("binary", labels[repeated], scores[repeated], threshold=0.7)
    model = CountedMetrics("binary", labels.astype(float), scores, threshold=0.7)
    for name, figure in model.measure(counts[None].astype(float)).items():
        assert figure[0] == pytest.approx(expected[name])


@settings(max_examples=40)
@given(seeds, st.integers(0, 40))
def test_counted_rows_of_many_classes_too(seed: int, rows: int) -> None:
    labels, scores = labelled_classes(seed, rows, 4)
    counts = np.random.default_rng(seed).integers(0, 3, len(labels))
    counts[0] = 1  # a class may well be missing
    repeated = np.repeat(np.arange(len(labels)), counts)
    expected = m.metrics("multiclass", labels[repeated], scores[repeated])
    figures = CountedMetrics("multiclass", labels.astype(float), scores).measure(counts[None].astype(float))
    assert {name: figure[0] for name, figure in figures.items()} == pytest.approx(
        {name: np.nan if value is None else value for name, value in expected.items()}, nan_ok=True
    )


@settings(max_examples=20)
@given(seeds)
def test_intervals_hold_the_figure(seed: int) -> None:
    labels, scores = labelled(seed, 300)
    groups = np.arange(300) // 5
    for name, figures in bootstrap("binary", labels, scores, groups, resamples=200, seed=seed).items():
        low, high = figures["ci95"]
        assert low < high
        if name != "ece":  # a distance that is never below 0 grows under resampling
            assert low <= figures["value"] <= high


def test_the_interval_of_ndcg_over_all_groups_is_that_of_its_group_means() -> None:
    generator = np.random.default_rng(5)
    groups, labels = np.repeat(np.arange(400), 3), generator.integers(0, 4, 1200) // 3
    scores = generator.random(1200)
    figures = bootstrap("binary", labels, scores, groups, resamples=1000)
    each = every_group_ndcg(group_ndcg(labels.astype(float), scores, groups), labels.astype(float), groups)
    assert figures["ndcg10_all"]["value"] == pytest.approx(each.mean())
    assert np.diff(figures["ndcg10_all"]["ci95"])[0] == pytest.approx(2 * 1.96 * each.std() / 20, rel=0.12)
    assert figures["ndcg10_all"]["value"] < figures["ndcg10"]["value"]  # four groups in ten have nothing to find


def test_the_width_is_that_of_theory() -> None:
    labels, scores = labelled(1, 2000)
    figures = bootstrap("binary", labels, scores, resamples=2000)["accuracy"]
    error = np.sqrt(figures["value"] * (1 - figures["value"]) / 2000)
    assert np.diff(figures["ci95"])[0] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_groups_are_drawn_whole() -> None:
    labels, scores = labelled(2, 200)
    labels, scores, groups = (np.repeat(alone, 20) for alone in (labels, scores, np.arange(200)))
    rows, whole = (
        bootstrap("binary", labels, scores, alone, resamples=400)["accuracy"]["ci95"] for alone in (None, groups)
    )
    assert np.diff(whole)[0] > 3 * np.diff(rows)[0]  # 20 copies of a row say no more than one


def test_paired_differences_are_narrower_than_either_interval() -> None:
    labels, teacher = labelled(3, 1000)
    student = np.clip(teacher + 0.05 * np.random.default_rng(0).normal(size=1000), 0, 1)
    both = Bootstrap("binary", labels, {"teacher": teacher, "student": student}, resamples=500)
    gain = both.difference("student", "teacher")
    assert gain["value"] == pytest.approx(both.values["student"]["accuracy"] - both.values["teacher"]["accuracy"])
    assert np.diff(gain["ci95"])[0] < np.diff(both.interval("teacher", "accuracy")["ci95"])[0] / 1.5
    kept = both.ratio("student", "teacher")
    assert kept["ci95"][0] <= kept["value"] <= kept["ci95"][1]
    assert both.ratio("teacher", "teacher")["ci95"] == [1, 1]


def test_shares() -> None:
    labels, scores = labelled(4, 100)
    figures = Bootstrap("binary", labels, {"student": scores}, shares={"fidelity": np.arange(100) < 80}).share(
        "fidelity"
    )
    assert figures["value"] == 0.8
    assert 0.7 < figures["ci95"][0] < 0.8 < figures["ci95"][1] < 0.9


def test_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = labelled(5, 100)
    first = bootstrap("binary", labels, scores, seed=1, resamples=100)
    assert bootstrap("binary", labels, scores, seed=1, resamples=100) == first
    assert bootstrap("binary", labels, scores, seed=2, resamples=100) != first
    monkeypatch.setattr(b, "CELLS", 700)  # resamples come 7 at a time
    again = bootstrap("binary", labels, scores, seed=1, resamples=100)
    assert all(again[name]["ci95"] == pytest.approx(figures["ci95"]) for name, figures in first.items())


def test_what_is_undefined_has_no_interval() -> None:
    figures = bootstrap("binary", [1, 1, 1], [0.2, 0.9, 0.8], ["a", "b", "c"], resamples=50)
    assert figures["roc_auc"] == figures["ndcg10"] == {"value": None, "ci95": None}
    assert figures["accuracy"]["ci95"] is not None
    # One positive of 4: a third of the resamples has none, and the others make the interval.
    assert bootstrap("binary", [1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3])["roc_auc"]["ci95"] == [1, 1]
    assert bootstrap("binary", [0, 1], [0.2, 0.9], resamples=0)["accuracy"] == {"value": 1.0, "ci95": None}


@given(seeds, st.integers(3, 60), st.sampled_from([0, 4]))
def test_counted_rankings_are_those_of_scikit_learn_with_weights(seed: int, rows: int, steps: int) -> None:
    labels, scores = labelled(seed, rows, steps)
    counts = np.random.default_rng(seed).integers(0, 4, rows)
    counts[:2] = 1
    figures = CountedMetrics("binary", labels.astype(float), scores).measure(counts[None].astype(float))
    assert figures["roc_auc"][0] == pytest.approx(roc_auc_score(labels, scores, sample_weight=counts))
    assert figures["pr_auc"][0] == pytest.approx(average_precision_score(labels, scores, sample_weight=counts))


@settings(max_examples=40)
@given(seeds, st.integers(4, 40))
def test_counted_grades_measure_as_repeated_rows_do(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    labels, scores = generator.integers(0, 4, rows) / 3, np.round(generator.random(rows), 1)
    labels[:2], scores[:2] = (0, 1), (0.2, 0.9)
    counts = generator.integers(0, 3, rows)
    counts[:2] = 1
    repeated = np.repeat(np.arange(rows), counts)
    expected = m.metrics("graded", labels[repeated], scores[repeated])
    figures = CountedMetrics(Task(("text",), "graded", (), "grade", (1.0, 4.0)), labels, scores).measure(
        counts[None].astype(float)
    )
    for name in ("spearman", "pearson"):
        assert figures[name][0] == pytest.approx(expected[name])
    assert figures["rmse"][0] == pytest.approx(3 * expected["rmse"])


def test_the_interval_of_pairs_in_order_is_drawn_by_groups() -> None:
    generator = np.random.default_rng(0)
    groups, labels = np.repeat(np.arange(200), 4), generator.integers(0, 4, 800) / 3
    scores = np.clip(labels + 0.5 * generator.normal(size=800), 0, 1)
    figures = bootstrap("graded", labels, scores, groups, resamples=500)
    low, high = figures["pair_order"]["ci95"]
    assert 0.5 < low < figures["pair_order"]["value"] < high < 1
    low, high = figures["spearman"]["ci95"]
    assert low < figures["spearman"]["value"] < high


def test_intervals_are_those_of_scipy() -> None:
    labels, scores = labelled(7, 400)
    right = hits("binary", labels, scores).astype(float)
    figures = bootstrap("binary", labels, scores, resamples=4000)["accuracy"]["ci95"]
    expected = stats.bootstrap(
        (right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert figures == pytest.approx([expected.low, expected.high], abs=0.006)  # the draws differ


def test_a_hundred_thousand_rows_take_seconds() -> None:
    labels, scores = labelled(6, 100_000)
    groups = np.arange(100_000) // 10
    start = time.process_time()
    bootstrap("binary", labels, scores, groups, resamples=40)
    assert time.process_time() - start < 10  # of the processor; scikit-learn with weights takes four times as long


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_the_way_from_one_figure_to_another(metric: str) -> None:
    labels, teacher = labelled(3, 400)
    generator = np.random.default_rng(3)
    student, words = (
        np.clip(share * teacher + (1 - share) * generator.random(400), 0.01, 0.99) for share in (0.7, 0.2)
    )
    models = {"teacher": np.clip(teacher, 0.01, 0.99), "student": student, "words": words}
    measured = Bootstrap("binary", labels, models, resamples=200)
    share = measured.share_of_gap("student", "words", "teacher", metric)
    top, own, bottom = (measured.values[name][metric] for name in ("teacher", "student", "words"))
    assert share["value"] == pytest.approx((own - bottom) / (top - bottom))
    samples = [measured.figures(name, metric)[1:] for name in ("teacher", "student", "words")]
    ratios = (samples[1] - samples[2]) / (samples[0] - samples[2])
    assert share["ci95"] == pytest.approx(np.percentile(ratios, [2.5, 97.5]))
    assert measured.share_of_gap("student", "teacher", "words", metric) == {"value": None, "ci95": None}
    bare = Bootstrap("binary", labels, models, resamples=0).share_of_gap("student", "words", "teacher", metric)
    assert bare == {"value": share["value"], "ci95": None}
