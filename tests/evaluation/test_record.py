"""Finished runs as one result: means, values by seed, limits, and what is refused."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.harness import graded_twin_and_bm25
from tfb2d.atomic import write_json
from tfb2d.config import Config, DataConfig, TeacherConfig
from tfb2d.errors import DataError
from tfb2d.evaluation.record import record
from tfb2d.evaluation.results import plain, summarise


def report(seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    """Returns a report of a run whose student has this accuracy."""
    config = Config(
        "films", data=DataConfig(("films.tsv",)), teachers={"bert": TeacherConfig("bert_tiny", seed=seed)}
    ).to_dict()
    config.training.seed = seed
    config.export.folder = f"models/{seed}"
    return {
        "name": "films",
        "command": f"python -m tfb2d.train --config.training.seed={seed}",
        "config": plain(config.to_dict()),
        "teacher": {"accuracy": 0.9, "roc_auc": 0.95, "ndcg10": None},
        "student": {"accuracy": accuracy, "roc_auc": 0.9, "ndcg10": None},
        "labels_only": None,
        "retention": accuracy / 0.9,
        "auc_retention": 0.9 / 0.95,
        "ndcg10_retention": None,
        "fidelity": 0.8,
        "gain_over_labels_only": None,
        "intervals": {
            "teacher": {"accuracy": [0.8, 0.99]},
            "student": {"accuracy": [accuracy - 0.1, accuracy + 0.05], "roc_auc": [0.85, 0.95]},
            "fidelity": [0.7, 0.9],
        },
        "latency": {
            "student": {"single_ms": {"p50": 0.5 + seed}, "rows_per_second": 1000.0},
            "teacher": {"single_ms": {"p50": 40.0}, "rows_per_second": 20.0},
        },
        "size_mb": {"student": 3.5, "teacher": 17.0},
        "seconds": {"data": 1.0, "student": 2.0 + seed},
        "versions": {"tfb2d": "0"},
    } | changes


def write(folder: Path, *reports: dict[str, Any]) -> list[Path]:
    """Writes a run folder for each report."""
    runs = [folder / f"run{number}" for number in range(len(reports))]
    for run, content in zip(runs, reports, strict=True):
        run.mkdir()
        write_json(run / "report.json", content)
    return runs


def test_a_report_of_an_older_version_is_told(tmp_path: Path) -> None:
    old = report(0, 0.8)
    del old["ndcg10_retention"]
    with pytest.raises(DataError, match="lacks ndcg10_retention"):
        record(write(tmp_path, old))


def test_means_values_by_seed_and_limits(tmp_path: Path) -> None:
    outcome = record(write(tmp_path, report(0, 0.8), report(1, 0.9), report(5, 0.7)))
    metrics = outcome["metrics"]
    assert outcome["seeds"] == [0, 1, 5]
    assert outcome["experiment"] == "films"
    assert outcome["command"].endswith("seed=0")
    assert outcome["versions"] == {"tfb2d": "0"}
    assert outcome["machine"]
    assert metrics["student_accuracy"]["mean"] == pytest.approx(0.8)
    assert metrics["student_accuracy"]["per_seed"] == [0.8, 0.9, 0.7]
    assert metrics["student_accuracy"]["ci95"] == pytest.approx([0.7, 0.85])
    assert metrics["teacher_accuracy"]["per_seed"] == [0.9] * 3
    assert metrics["teacher_accuracy"]["ci95"] == pytest.approx([0.8, 0.99])
    assert metrics["teacher_roc_auc"]["ci95"] is None
    assert metrics["retention"]["mean"] == pytest.approx(0.8 / 0.9)
    assert metrics["fidelity"]["ci95"] == pytest.approx([0.7, 0.9])
    assert metrics["student_single_ms"]["per_seed"] == [0.5, 1.5, 5.5]
    assert metrics["teacher_rows_per_second"]["mean"] == 20.0
    assert metrics["student_mb"]["mean"] == 3.5
    assert metrics["seconds"]["per_seed"] == [3.0, 4.0, 8.0]
    absent = {"student_ndcg10", "teacher_ndcg10", "labels_only_accuracy", "gain_over_labels_only"}
    assert not absent & set(metrics)
    json.dumps(outcome, allow_nan=False)


def test_the_headline_is_recorded(tmp_path: Path) -> None:
    recorded = {"headline_measure": "roc_auc", "headline_retention": 0.96, "headline_gain": 0.075}
    outcome = record(write(tmp_path, report(0, 0.8, **recorded)))
    assert outcome["headline_measure"] == "roc_auc"
    assert outcome["metrics"]["headline_retention"]["mean"] == 0.96
    assert outcome["metrics"]["headline_gain"]["mean"] == 0.075


def test_counted_groups_are_recorded(tmp_path: Path) -> None:
    counts = {"ndcg_groups": {"all": 40, "counted": 31}}
    metrics = record(write(tmp_path, report(0, 0.8, **counts), report(1, 0.8, **counts)))["metrics"]
    assert metrics["ndcg_groups_counted"] == {"mean": 31.0, "per_seed": [31.0, 31.0], "ci95": None}
    assert metrics["ndcg_groups_all"]["mean"] == 40.0


def test_one_run_and_a_name(tmp_path: Path) -> None:
    outcome = record(write(tmp_path, report(3, 0.75)), "one_film")
    assert outcome["experiment"] == "one_film"
    assert outcome["metrics"]["student_accuracy"] == {
        "mean": 0.75,
        "per_seed": [0.75],
        "ci95": pytest.approx([0.65, 0.8]),
    }


@pytest.mark.parametrize("without", [0, 1])
def test_a_figure_that_one_run_lacks_is_left_out(tmp_path: Path, without: int) -> None:
    reports = [report(0, 0.8), report(1, 0.9)]
    reports[without]["student"]["roc_auc"] = None
    reports[without]["auc_retention"] = None
    metrics = record(write(tmp_path, *reports))["metrics"]
    assert not {"student_roc_auc", "auc_retention"} & set(metrics)
    assert metrics["student_accuracy"]["per_seed"] == [0.8, 0.9]


def test_labels_only_is_a_model_too(tmp_path: Path) -> None:
    entry = report(0, 0.8, labels_only={"accuracy": 0.7}, gain_over_labels_only=0.1)
    entry["intervals"] |= {"labels_only": {"accuracy": [0.6, 0.8]}, "gain_over_labels_only": [0.05, 0.15]}
    metrics = record(write(tmp_path, entry))["metrics"]
    assert metrics["labels_only_accuracy"]["ci95"] == [0.6, 0.8]
    assert metrics["gain_over_labels_only"] == {"mean": 0.1, "per_seed": [0.1], "ci95": [0.05, 0.15]}


def test_a_twin_and_bm25_are_recorded_beside_the_student(tmp_path: Path) -> None:
    run = graded_twin_and_bm25()
    config = report(0, 0.8)["config"]
    config["twin"]["seed"] = 4
    both = summarise(dataclasses.replace(run, config=config))
    metrics = record(write(tmp_path, both))["metrics"]
    assert metrics["over_bm25"]["mean"] == both["over_bm25"]
    assert metrics["bm25_ndcg10"] == {
        "mean": both["baselines"]["bm25"]["ndcg10"],
        "per_seed": [both["baselines"]["bm25"]["ndcg10"]],
        "ci95": both["intervals"]["bm25"]["ndcg10"],
    }
    kept = both["compared"]["twin"]["headline_retention"]
    assert metrics["twin_headline_retention"] == {
        "mean": kept["value"],
        "per_seed": [kept["value"]],
        "ci95": kept["ci95"],
    }
    assert metrics["twin_spearman"]["mean"] == both["twin"]["spearman"]
    assert metrics["twin_embed_query_single_ms"]["mean"] == 0.12
    alone = {key: model for key, model in run.models.items() if key not in ("student", "labels_only")}
    (tmp_path / "alone").mkdir()
    recorded = record(write(tmp_path / "alone", summarise(dataclasses.replace(run, config=config, models=alone))))
    assert recorded["seeds"] == [4]
    assert recorded["metrics"]["headline_retention"]["mean"] == kept["value"]


@pytest.mark.parametrize(
    ("stage", "setting", "value"), [("training", "epochs", 7), ("data", "split_seed", 4), ("distill", "stack", "x")]
)
def test_runs_with_other_settings_are_refused(tmp_path: Path, stage: str, setting: str, value: object) -> None:
    other = copy.deepcopy(report(2, 0.9))
    other["config"][stage][setting] = value
    runs = write(tmp_path, report(0, 0.8), report(1, 0.8), other)
    with pytest.raises(DataError, match=rf"{runs[2]}: its settings differ"):
        record(runs)


def test_another_teacher_is_another_experiment(tmp_path: Path) -> None:
    other = report(1, 0.9)
    other["config"]["teachers"]["bert"]["layers"] = 2
    runs = write(tmp_path, report(0, 0.8), other)
    with pytest.raises(DataError, match=str(runs[1])):
        record(runs)


def test_a_run_without_a_report_is_named(tmp_path: Path) -> None:
    runs = write(tmp_path, report(0, 0.8))
    with pytest.raises(DataError, match=r"unfinished: no report\.json"):
        record([*runs, tmp_path / "unfinished"])
