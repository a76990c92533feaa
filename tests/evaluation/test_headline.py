"""The measure a task is reported by, thresholds, and what a constant score is worth."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.harness import labelled, run_results, seeds
from tfb2d.config import HEADLINES, Config, ConfigError, DataConfig, ReportConfig, TeacherConfig
from tfb2d.data.task import Task
from tfb2d.evaluation import metrics as m
from tfb2d.evaluation.headline import best_threshold, constant_scores, decide, headline_measure, headline_on
from tfb2d.evaluation.metrics import threshold_figures
from tfb2d.evaluation.models import Model
from tfb2d.evaluation.page import cards, headline, table
from tfb2d.evaluation.ranking import group_ndcg
from tfb2d.evaluation.results import summarise
from tfb2d.evaluation.scores import THRESHOLD
from tfb2d.evaluation.table import print_table


@pytest.mark.parametrize(
    ("kind", "labels", "pairs", "measure"),
    [
        ("binary", [0, 1] * 5, False, "accuracy"),
        ("binary", [0] * 4 + [1] * 6, False, "accuracy"),
        ("binary", [0] * 3 + [1] * 7, False, "roc_auc"),
        ("binary", [0, 1] * 5, True, "roc_auc"),
        ("binary", [1, 1], True, "accuracy"),
        ("graded", [0, 0.5, 1], True, "spearman"),
        ("graded", [0, 0.5, 1], False, "spearman"),
        ("multiclass", [0, 1, 2] * 3, False, "accuracy"),
        ("multiclass", [0] * 8 + [1, 2], False, "macro_f1"),
    ],
)
def test_the_measure_belongs_to_the_task(kind: str, labels: list, pairs: bool, measure: str) -> None:
    assert headline_measure(kind, labels, pairs=pairs) == measure


def test_a_class_without_rows_makes_classes_unbalanced() -> None:
    task = Task(("text",), "multiclass", ("a", "b", "c"))
    assert headline_measure(task, [0, 1] * 5, pairs=False) == "macro_f1"
    assert headline_measure("multiclass", [0, 1] * 5, pairs=False) == "accuracy"


@settings(max_examples=10)
@given(seeds)
def test_a_constant_score_is_the_majority_in_random_order(seed: int) -> None:
    labels, _ = labelled(seed, 60)
    groups = np.arange(60) // 6
    measured = m.metrics("binary", labels, constant_scores("binary", labels), groups)
    assert measured["accuracy"] == pytest.approx(max(labels.mean(), 1 - labels.mean()))
    assert measured["roc_auc"] == 0.5
    shuffled = np.random.default_rng(seed).random((400, 60))
    orders = [group_ndcg(labels.astype(float), scores, groups) for scores in shuffled]
    assert measured["ndcg10"] == pytest.approx(np.nanmean(orders), abs=0.02)
    assert m.metrics("multiclass", [0, 2, 2], constant_scores("multiclass", [0, 2, 2], 3))["accuracy"] == 2 / 3


@settings(max_examples=25)
@given(seeds, st.integers(4, 40))
def test_the_threshold_is_the_best_of_all(seed: int, rows: int) -> None:
    labels, scores = labelled(seed, rows, 10)
    best = max(threshold_figures(labels, scores, row)["f1"] for row in scores)
    assert threshold_figures(labels, scores, best_threshold(labels, scores))["f1"] == pytest.approx(best)


def test_labels_of_one_class_leave_the_threshold_alone() -> None:
    assert best_threshold([1, 1], [0.2, 0.3]) == THRESHOLD
    assert threshold_figures([0, 0], [0.2, 0.3], 0.5) == {"f1": 0, "precision": 0, "recall": 0}


def test_an_unbalanced_task_is_reported_by_roc_auc_and_its_threshold() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0] * 9 + [1]).repeat(12)
    student = np.clip(0.1 + 0.2 * labels + 0.1 * generator.random(120), 0, 1)
    report = summarise(run_results(labels=labels, models={"student": Model(student, threshold=0.25)}))
    assert report["headline_measure"] == "roc_auc"
    assert report["headline_retention"] == report["auc_retention"]
    assert report["retention"] == pytest.approx(report["student"]["accuracy"] / report["teacher"]["accuracy"])
    gain = report["student"]["roc_auc"] - report["labels_only"]["roc_auc"]
    assert report["headline_gain"] == pytest.approx(gain)
    assert report["thresholds"]["student"] == {"threshold": 0.25, "f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert report["student"]["accuracy"] == 0.9  # at 0.5 it says no to all, as the majority does
    assert report["baselines"]["constant"]["accuracy"] == 0.9
    assert report["student"]["f1"] == 1.0
    assert report["intervals"]["student"]["f1"] == [1.0, 1.0]
    assert report["baselines"]["constant"]["f1"] == pytest.approx(2 * 0.1 / 1.1)  # always yes
    text = print_table(report)
    assert text.splitlines()[0].split()[2:7] == ["ROC-AUC", "95%", "interval", "PR-AUC", "F1"]
    assert "of the teacher's ROC-AUC" in text
    assert "points of ROC-AUC over labels alone" in text
    assert "threshold  0.250, chosen on validation: f1 1.000, precision 1.000, recall 1.000" in text
    assert "majority, random order" in text
    assert "teacher's ROC-AUC" in headline(report)
    assert any("student's ROC-AUC over teacher's" in card["note"] for card in cards(report))
    assert table(report)["titles"][1] == "ROC-AUC"


def test_grades_are_reported_by_their_order_and_a_setting_changes_it() -> None:
    report = summarise(run_results("graded"))
    assert report["headline_measure"] == "spearman"
    kept = report["student"]["spearman"] / report["teacher"]["spearman"]
    assert report["headline_retention"] == pytest.approx(kept)
    assert report["intervals"]["headline_retention"][0] <= kept <= report["intervals"]["headline_retention"][1]
    assert {"spearman", "pearson", "rmse", "pair_order", "ndcg10"} <= set(report["student"])
    assert "of the teacher's Spearman" in print_table(report)
    chosen = summarise(run_results("graded", headline="ndcg10"))
    assert chosen["headline_measure"] == "ndcg10"
    assert chosen["headline_retention"] == chosen["ndcg10_retention"]


def test_without_a_teacher_the_headline_is_the_student_alone() -> None:
    report = summarise(run_results("graded", models={"teacher": None, "labels_only": None}))
    assert report["headline_retention"] is report["headline_gain"] is None
    assert headline(report) == f"The student's Spearman on the test split is {report['student']['spearman']:.3f}."


def split(labels: list, groups: list | None = None) -> pa.Table:
    texts = [f"text {row}" for row in range(len(labels))]
    return pa.table({"text": texts, "label": labels} | ({} if groups is None else {"group": groups}))


def test_evaluations_are_ordered_by_the_measure_of_the_validation_split() -> None:
    task = Task(("text",), "binary", ("no", "yes"))
    labels = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    headline = headline_on(task, split(labels))
    assert (headline.measure, headline.name) == ("roc_auc", "valid_roc_auc")
    logits = np.linspace(-9, -1, 10)[:, None]  # all below 0: no "yes", and the best order
    assert headline.figures(logits) == {"valid_roc_auc": 1.0}
    assert headline_on(task, split(labels), "accuracy").figures(logits) == {"valid_accuracy": 0.7}
    assert headline_on(task, split(labels), "f1").figures(logits) == {"valid_f1": 1.0}
    right = {"valid_roc_auc": 0.9, "valid_loss": 2.0}
    assert headline.order(right) > headline.order({"valid_roc_auc": 0.8, "valid_loss": 0.1})
    assert headline.order(right) < headline.order(right | {"valid_loss": 1.9})
    by_loss = headline_on(task, split(labels), "log_loss")
    assert by_loss.order({"valid_log_loss": 0.1, "valid_loss": 1}) > by_loss.order(
        {"valid_log_loss": 0.2, "valid_loss": 1}
    )


def test_rankings_are_ordered_within_groups() -> None:
    task = Task(("text",), "graded", (), "label", (1.0, 3.0))
    table = split([0.0, 1.0, 1.0, 0.5], ["a", "a", "b", "b"])
    right, wrong = (np.array(logits)[:, None] for logits in ([1.0, 2.0, 9.0, 8.0], [9.0, 8.0, 1.0, 2.0]))
    for measure in ("ndcg10", "pair_order"):
        headline = headline_on(task, table, measure)
        assert headline.figures(right)[f"valid_{measure}"] == 1.0
        assert headline.figures(wrong)[f"valid_{measure}"] < 1.0


def test_weights_that_are_no_numbers_are_never_the_best() -> None:
    headline = headline_on(Task(("text",), "graded", (), "label", (0.0, 1.0)), split([0.0, 0.5, 1.0]), "rmse")
    assert headline.figures(np.array([[np.nan], [0.0], [1.0]])) == {}
    undefined = headline.order({"valid_loss": float("nan")})
    assert undefined < headline.order({"valid_rmse": 0.3, "valid_loss": 1.0})
    assert (
        headline_on(Task(("text",), "graded", (), "label", (0.0, 1.0)), split([0.5] * 3)).figures(np.ones((3, 1))) == {}
    )


def test_the_threshold_is_chosen_with_what_it_is_worth() -> None:
    decision = decide("binary", [0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    assert decision is not None
    assert (decision.threshold, decision.recall, decision.rows) == (0.3, 1.0, 4)
    assert decision.precision == pytest.approx(2 / 3)
    assert decision.f1 == pytest.approx(0.8)
    assert decide("graded", [0.5], [0.5]) is None


@pytest.mark.parametrize(
    ("data", "headline", "message"),
    [
        ({}, "spearman", "'spearman'; binary labels have accuracy, roc_auc"),
        ({"label_range": (1, 3)}, "f1", "graded labels have spearman"),
        ({"classes": ("a", "b", "c")}, "aucc", "multiclass labels have accuracy, macro_f1"),
        ({}, "ndcg10", "data.group names their column"),
    ],
)
def test_a_measure_that_the_task_lacks_is_refused(data: dict, headline: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(
            data=DataConfig(("a.tsv",), **data),
            teachers={"bert": TeacherConfig("bert")},
            report=ReportConfig(headline=headline),
        )


def test_all_measures_of_a_kind_are_measured() -> None:
    for kind, names in HEADLINES.items():
        run = run_results(kind)
        labels = np.asarray(run.labels, float)
        headline = headline_on(run.task, pa.table({"label": labels, "group": list(run.groups or ())}))
        logits = np.log(np.clip(np.asarray(run.models["student"].scores), 1e-6, 1))
        logits = logits if logits.ndim == 2 else logits[:, None]
        for name in names:
            assert set(dataclasses.replace(headline, measure=name).figures(logits)) == {f"valid_{name}"}, (kind, name)
            assert summarise(run_results(kind, headline=name))["headline_retention"] is not None
