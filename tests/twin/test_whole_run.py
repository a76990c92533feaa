"""`python -m tfb2d.train --config=twin` from files to the trained twin: whole, and killed in every twin stage."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.killing import module, run, run_and_kill
from tests.teachers.harness import save_encoder
from tests.twin.small import pairs
from tfb2d.atomic import read_json
from tfb2d.data.tables import read_table
from tfb2d.resume import RECORD, is_finished
from tfb2d.runs import Run

SETTINGS = {
    "teachers.minilm.max_length": 16,
    "teachers.minilm.epochs": 1,
    "teachers.minilm.learning_rate": 1e-3,
    "label.rows_per_shard": 64,
    "data.augment.copies": 0,
    "twin.kind": "asymmetric",
    "twin.layers": 1,
    "twin.query_length": 8,
    "twin.title_length": 16,
    "twin.buckets": 512,
    "twin.dim": 16,
    "twin.width": 16,
    "twin.in_batch_negatives": 2,
    "twin.margin_weight": 0.1,
    "twin.batch_size": 32,
    "twin.epochs": 3,
    "twin.look_up_epochs": 30,
    "twin.checkpoint_seconds": 1e-9,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings that name a tiny encoder, labelled pairs, and pairs without labels."""
    folder = tmp_path_factory.mktemp("shop")
    for name, rows, seed in (("judged", 300, 1), ("logs", 300, 2)):
        queries, titles, labels = pairs(rows, seed)
        columns = ["query\ttitle\tlabel\n"] if name == "judged" else ["query\ttitle\n"]
        for query, title, label in zip(queries, titles, labels, strict=True):
            columns.append(f"{query}\t{title}\t{label:.0f}\n" if name == "judged" else f"{query}\t{title}\n")
        (folder / f"{name}.tsv").write_text("".join(columns), encoding="utf-8")
    return {
        "teachers.minilm.preset": str(save_encoder("bert", folder / "encoder")),
        "data.train": str(folder / "judged.tsv"),
        "data.unlabelled": str(folder / "logs.tsv"),
        "export.folder": str(folder / "models"),
    }


def command(files: dict[str, str], workdir: Path, *flags: str) -> list[str]:
    settings = [f"--config.{name}={value}" for name, value in {**SETTINGS, **files}.items()]
    return module("tfb2d.train", "--config=twin", f"--workdir={workdir}", *settings, *flags)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_twin(files: dict[str, str], tmp_path: Path) -> None:
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    run(command(files, whole.folder, "--until=twin"))
    started = {
        "cross_pairs": killed.cross_pairs("minilm") / "part-00000.parquet",
        "twin_transformer": killed.twin_transformer / "checkpoints" / "state.safetensors",
        "twin": killed.twin / "checkpoints" / "state.safetensors",
    }
    for name, path in started.items():
        assert run_and_kill(command(files, killed.folder, "--until=twin"), path.exists, may_end=True), name
        assert not is_finished(killed.folder / name) or name == "cross_pairs"
    run(command(files, killed.folder, "--until=twin"))
    for name in ("twin_transformer", "twin"):
        expected = load_file(whole.folder / name / "weights.safetensors")
        actual = load_file(killed.folder / name / "weights.safetensors")
        assert expected.keys() == actual.keys()
        assert all((actual[key] == expected[key]).all() for key in expected), name
        outcomes = [read_json(folder / name / RECORD)["outcome"] for folder in (whole.folder, killed.folder)]
        assert outcomes[0]["history"] == outcomes[1]["history"]
        assert outcomes[0]["calibration"] == outcomes[1]["calibration"]
    crossed = read_table(whole.cross_pairs("minilm"))
    assert crossed.column_names == ["query", "title", "logit"]
    assert whole.twin_outcome().rows == whole.data_outcome().transfer + crossed.num_rows
