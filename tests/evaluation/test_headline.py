"""The measure a task is reported by, thresholds, and what a constant score is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.test_metrics import labelled, seeds
from tests.evaluation.test_report import run_results
from tfb2d.data.task import Task
from tfb2d.evaluation import metrics as m
from tfb2d.evaluation.headline import best_threshold, constant_scores, headline_measure, threshold_figures
from tfb2d.evaluation.page import cards, headline, table
from tfb2d.evaluation.results import summarise
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
    orders = [m.group_ndcg(labels.astype(float), scores, groups) for scores in shuffled]
    assert measured["ndcg10"] == pytest.approx(np.nanmean(orders), abs=0.02)
    assert m.metrics("multiclass", [0, 2, 2], constant_scores("multiclass", [0, 2, 2], 3))["accuracy"] == 2 / 3


@settings(max_examples=25)
@given(seeds, st.integers(4, 40))
def test_the_threshold_is_the_best_of_all(seed: int, rows: int) -> None:
    labels, scores = labelled(seed, rows, 10)
    best = max(threshold_figures(labels, scores, row)["f1"] for row in scores)
    assert threshold_figures(labels, scores, best_threshold(labels, scores))["f1"] == pytest.approx(best)


def test_labels_of_one_class_leave_the_threshold_alone() -> None:
    assert best_threshold([1, 1], [0.2, 0.3]) == m.THRESHOLD
    assert threshold_figures([0, 0], [0.2, 0.3], 0.5) == {"threshold": 0.5, "f1": 0, "precision": 0, "recall": 0}


def test_an_unbalanced_task_is_reported_by_roc_auc_and_its_threshold() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0] * 9 + [1]).repeat(12)
    student = np.clip(0.1 + 0.2 * labels + 0.1 * generator.random(120), 0, 1)
    report = summarise(run_results(labels=labels, student=student, thresholds={"student": 0.25}))
    assert report["headline_measure"] == "roc_auc"
    assert report["headline_retention"] == report["auc_retention"]
    assert report["retention"] == pytest.approx(report["student"]["accuracy"] / report["teacher"]["accuracy"])
    gain = report["student"]["roc_auc"] - report["labels_only"]["roc_auc"]
    assert report["headline_gain"] == pytest.approx(gain)
    assert report["thresholds"]["student"] == {"threshold": 0.25, "f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert report["student"]["accuracy"] == 0.9  # at 0.5 it says no to all, as the majority does
    assert report["baselines"]["constant"]["accuracy"] == 0.9
    text = print_table(report)
    assert text.splitlines()[0].split()[2] == "ROC-AUC"
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
    bare = {"teacher": None, "labels_only": None}
    report = summarise(run_results("graded", **bare))
    assert report["headline_retention"] is report["headline_gain"] is None
    assert headline(report) == f"The student's Spearman on the test split is {report['student']['spearman']:.3f}."
