"""The committed results: each figure that test logits give comes out of the file beside it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tfb2d.atomic import read_json
from tfb2d.evaluation.record import record_figures
from tfb2d.evaluation.results import summarise
from tfb2d.evaluation.test_logits import read_test_logits

RESULTS = Path(__file__).parents[1] / "results"
LOGITS = sorted(RESULTS.glob("*_logits.parquet"))
ROUNDING = {"rel": 1e-6, "abs": 1e-7}  # files keep logits as float32; gains are small differences
ELSEWHERE = ("_ms", "_mb", "_rows_per_second", "seconds")  # of a machine or a run: no logits give them
each_result = pytest.mark.parametrize("file", LOGITS, ids=lambda file: file.stem)


def recorded(file: Path) -> Mapping[str, Any]:
    """Returns the JSON beside a file of logits."""
    return dict(read_json(file.with_name(f"{file.stem.removesuffix('_logits')}.json")))


@each_result
def test_the_figures_beside_come_out_of_the_logits(file: Path) -> None:
    runs = read_test_logits(file)
    assert list(runs) == recorded(file)["seeds"]
    figures = record_figures([summarise(dataclasses.replace(run, resamples=2)) for run in runs.values()])
    expected = {name: value for name, value in recorded(file)["metrics"].items() if not name.endswith(ELSEWHERE)}
    assert len(expected) > 10
    for name, value in expected.items():
        assert figures[name]["per_seed"] == pytest.approx(value["per_seed"], **ROUNDING), name
        assert figures[name]["mean"] == pytest.approx(value["mean"], **ROUNDING), name


@pytest.mark.slow
@each_result
def test_the_intervals_beside_come_out_of_the_logits(file: Path) -> None:
    figures = record_figures([summarise(run) for run in read_test_logits(file).values()])
    for name, value in recorded(file)["metrics"].items():
        if value["ci95"] is not None:
            assert figures[name]["ci95"] == pytest.approx(value["ci95"], rel=1e-4), name


def test_there_are_results_with_logits() -> None:
    assert len(LOGITS) >= 5
