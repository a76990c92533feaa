"""Test logits: the report's figures come out of the file, of one run and of several."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import run as command
from tests.evaluation.harness import run_results
from tfb2d.atomic import write_json
from tfb2d.errors import DataError
from tfb2d.evaluation.models import Model
from tfb2d.evaluation.record import record_logits
from tfb2d.evaluation.results import RunResults, plain, summarise
from tfb2d.evaluation.table import METRICS
from tfb2d.evaluation.test_logits import read_test_logits, row_hash, write_test_logits
from tfb2d.outcomes import Calibration
from tfb2d.runs import Run

FROM_ELSEWHERE = ("data", "seconds", "latency", "size_mb", "config", "histories", "versions", "command", "model")
FROM_ELSEWHERE += ("exported", "rejected", "leaked", "compression", "contrasts")


def with_logits(kind: str, seed: int = 0) -> RunResults:
    """Returns results whose scores come from logits by calibrations; some rows of the teacher are missing."""
    generator = np.random.default_rng(seed)
    run = run_results(kind, rows=90)
    models: dict[str, Any] = {}
    for key, dtype in (("teacher", np.float64), ("student", np.float32), ("labels_only", np.float64)):
        shape = np.shape(run.models[key].scores)
        logits = (generator.normal(size=shape) + (np.asarray(run.labels) if len(shape) == 1 else 0)).astype(np.float32)
        if key == "teacher":
            logits[:7] = np.nan
        calibration = Calibration(1.3, (0.2,) if len(shape) == 1 else (0.1, 0.0, -0.1))
        scores = calibration.apply(logits).astype(dtype)
        threshold = 0.4 if kind == "binary" else None
        models[key] = Model(scores, threshold, logits=logits, calibration=calibration)
    config = {"training": {"seed": seed}, "twin": {"seed": seed}}
    return run_results(kind, rows=90, models=models, config=config, teachers={"late": models["teacher"]})


def figures(run: RunResults) -> dict[str, Any]:
    return {key: value for key, value in summarise(run).items() if key not in FROM_ELSEWHERE}


@pytest.mark.parametrize("kind", ["binary", "graded", "multiclass"])
def test_every_figure_and_interval_comes_out_of_the_file(kind: str, tmp_path: Path) -> None:
    run = with_logits(kind)
    write_test_logits(run, tmp_path / "logits.parquet")
    assert figures(read_test_logits(tmp_path / "logits.parquet")[0]) == figures(run)


def test_rows_and_groups_are_hashes_and_no_text_is_in_the_file(tmp_path: Path) -> None:
    run = with_logits("graded")
    write_test_logits(run, tmp_path / "logits.parquet")
    table = pq.read_table(tmp_path / "logits.parquet")
    assert table["row"].to_pylist() == [row_hash(fields) for fields in zip(*run.columns, strict=True)]
    assert table["group"].to_pylist() == [row_hash([group]) for group in run.groups]
    assert row_hash(["a", "b"]) != row_hash(["ab", ""])
    assert row_hash(["usb hub"]) == "324a3f3fd28a5431"
    assert b"evil.example" not in (tmp_path / "logits.parquet").read_bytes()


def test_runs_are_joined_by_seed_beside_their_result_and_recounted(tmp_path: Path) -> None:
    runs = [with_logits("binary", seed) for seed in (0, 3)]
    folders = [tmp_path / f"run{index}" for index in range(2)]
    for run, folder in zip(runs, folders, strict=True):
        write_test_logits(run, Run(folder).test_logits)
    beside = record_logits(folders, tmp_path / "films.json")
    assert beside == tmp_path / "films_logits.parquet"
    assert {seed: figures(run) for seed, run in read_test_logits(beside).items()} == {
        0: figures(runs[0]),
        3: figures(runs[1]),
    }
    done = command("recount", str(beside))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test split") == 3  # each seed's, and the means
    assert f"{beside}: quick & <i>dirty</i>, seed 3, 90 rows" in done.stdout
    assert f"retention  {100 * summarise(runs[1])['headline_retention']:.1f}%" in done.stdout
    _, means = done.stdout.split("means of seeds 0, 3")
    of_runs = [summarise(run) for run in runs]
    kept = 100 * np.mean([report["headline_retention"] for report in of_runs])
    low, high = 100 * np.mean([report["intervals"]["headline_retention"] for report in of_runs], 0)
    measure = METRICS[of_runs[0]["headline_measure"]]
    assert f"retention  {kept:.1f}% of the teacher's {measure} ({low:.1f}% to {high:.1f}%)" in means


def test_a_run_without_test_logits_leaves_none_beside_the_result(tmp_path: Path) -> None:
    (tmp_path / "films_logits.parquet").write_bytes(b"of an earlier result")
    write_json(tmp_path / "run/report.json", plain(summarise(run_results())))
    assert record_logits([tmp_path / "run"], tmp_path / "films.json") is None
    assert not (tmp_path / "films_logits.parquet").exists()


def test_models_without_logits_and_other_files(tmp_path: Path) -> None:
    run = with_logits("binary")
    bare = dataclasses.replace(run, models={**run.models, "bm25": Model(run.models["student"].scores)}, groups=None)
    write_test_logits(bare, tmp_path / "logits.parquet")
    read = read_test_logits(tmp_path / "logits.parquet")[0]
    assert set(read.models) == {"teacher", "student", "labels_only"}
    assert read.groups is None
    pq.write_table(pa.table({"row": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="does not hold test logits"):
        read_test_logits(tmp_path / "other.parquet")
    (tmp_path / "rows.tsv").write_text("row\n")
    with pytest.raises(DataError, match=r"rows\.tsv: is no Parquet file; test logits lie in"):
        read_test_logits(tmp_path / "rows.tsv")
    with pytest.raises(DataError, match=r"gone\.parquet: there is no such file; test logits lie in"):
        read_test_logits(tmp_path / "gone.parquet")
