"""Variants trained in this process: figures, differences from the recipe, tables and the page."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.sweep.made_run import CONFIG
from tfb2d.evaluation.headline import headline_measure
from tfb2d.sweep.axes import axes
from tfb2d.sweep.page import render
from tfb2d.sweep.results import evaluate
from tfb2d.sweep.run_data import RunData
from tfb2d.sweep.table import print_tables
from tfb2d.sweep.training import LOGITS, is_done, jobs, train


def test_variants_are_compared(run_data: RunData, tmp_path: Path) -> None:
    chosen = axes(["targets"], CONFIG, run_data.facts, {})
    kept = tuple(variant for variant in chosen[0].variants if variant.base or variant.settings.targets == "labels")
    chosen = [type(chosen[0])("targets", "Targets", kept)]
    todo = jobs(run_data, chosen, 1)
    assert len(todo) == 2
    results = [train(run_data, job, tmp_path) for job in todo]
    assert all(is_done(job, tmp_path) for job in todo)
    assert train(run_data, todo[0], tmp_path) == results[0]  # found, not trained again
    figures = evaluate(run_data, chosen, todo, tmp_path, test=True, resamples=50)
    assert figures["primary"] == headline_measure(run_data.task, run_data.labels["valid"], pairs=False)
    labels = run_data.labels["test"]
    for variant, job in zip(sorted(figures["axes"][0]["variants"], key=lambda v: not v["base"]), todo, strict=True):
        logits = load_file(tmp_path / job.folder / LOGITS)["test"][:, 0]
        calibration = next(r.calibration for r, j in zip(results, todo, strict=True) if j is job)
        decided = calibration.scale * logits + calibration.bias[0] >= 0
        assert variant["test"]["accuracy"]["value"] == pytest.approx(np.mean(decided == labels))
        assert variant["base"] == (variant["test"]["accuracy"]["difference_ci95"] == [0.0, 0.0])
    quiet = evaluate(run_data, chosen, todo, tmp_path, test=False, resamples=0)
    assert "test" not in quiet["axes"][0]["variants"][0]
    for computed in (figures, quiet):
        whole = {
            "run": "run", "command": "again", "date": "today", "machine": "here", "seeds": 1, "test_looks": [],
            "task": run_data.task.to_json(), **computed,
        }  # fmt: skip
        assert "labels alone" in print_tables(whole)
        assert render(whole).count("<svg") == 2
        by_loss = print_tables({**whole, "primary": "log_loss"})  # the task's headline measure leads
        assert by_loss.index("log loss") < by_loss.index("accuracy")
    for variant in whole["axes"][0]["variants"]:  # as of a split with rows of one class
        variant["valid"]["roc_auc"] = {"value": None, "ci95": None, "by_seed": [None]}
    whole["axes"][0]["best"] = None
    assert "–" in print_tables(whole)
    assert render(whole).count("<svg") == 1
