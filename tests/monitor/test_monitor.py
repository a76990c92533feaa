"""The whole look at a log, on models whose logits can be worked out by hand."""

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS, expected_logits, export
from tests.monitor import logs
from tfb2d.atomic import read_json, write_json
from tfb2d.config import Config, DataConfig, TeacherConfig
from tfb2d.data.tables import read_table
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.evaluation.scorer import Scorer
from tfb2d.monitor.alerts import Thresholds
from tfb2d.monitor.ngrams import Hasher
from tfb2d.monitor.page import render, summary
from tfb2d.monitor.reference import build
from tfb2d.monitor.run import Monitor
from tfb2d.monitor.settings import Settings
from tfb2d.outcomes import DataOutcome
from tfb2d.probability import probabilities
from tfb2d.resume import Record, write_record
from tfb2d.runs import Run
from tfb2d.students.stage import HASHED, hash_splits

DAY = 86400
WORDS = ["red", "blue", "shoe", "hat", "match", "good", "sport", "trade"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {task.kind: export(root / task.kind / "7", task).parent for task in (REVIEWS, PAIRS, NEWS)}


def some_texts(task: Task, rows: int, seed: int, words: list[str] = WORDS) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [[" ".join(random.choice(words, 4)) for _ in range(rows)] for _ in task.fields]


def served(task: Task, columns: list[list[str]]) -> np.ndarray:
    return probabilities(expected_logits(task, columns).reshape(-1, task.n_logits).astype(np.float64)).astype(
        np.float32
    )


def write_logs(folder: Path, task: Task, days: list[list[list[str]]], **about: Any) -> Path:
    """Writes ten rows a request, a file a day."""
    folder.mkdir()
    for day, columns in enumerate(days):
        scores = served(task, columns)
        records = []
        for start in range(0, len(scores), 10):
            part = slice(start, start + 10)
            given = {
                name: [text.encode() for text in column[part]]
                for name, column in zip(task.fields, columns, strict=True)
            }
            records.append(
                logs.predict(given, {"score": scores[part]}, time=(10 + day) * DAY + start, version=7, **about)
            )
        logs.write(folder / f"{day}.tfrecord", records)
    return folder


def write_rows(path: Path, task: Task, columns: list[list[str]], logits: np.ndarray | None = None) -> Path:
    table = {name: pa.array(column, pa.string()) for name, column in zip(task.fields, columns, strict=True)}
    if logits is not None:
        names = ["logit"] if logits.shape[1] == 1 else [f"logit_{i}" for i in range(logits.shape[1])]
        table |= {name: pa.array(logits[:, at], pa.float32()) for at, name in enumerate(names)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("task", [PAIRS, NEWS], ids=lambda task: task.kind)
def test_a_quiet_log_and_one_that_moved(models: dict[str, Path], task: Task, tmp_path: Path) -> None:
    quiet, moved = some_texts(task, 400, 1), some_texts(task, 400, 2, [*WORDS[2:], *["match good sport"] * 3])
    moved = [[f"zebra {text}" for text in column] for column in moved]
    folder = write_logs(tmp_path / "log", task, [quiet, moved])
    everything = [entry + other for entry, other in zip(quiet, moved, strict=True)]
    logits = expected_logits(task, everything).reshape(-1, task.n_logits).copy()
    logits[:400] += 0.01
    logits[400:] *= -1  # the teacher thinks the opposite of what moved
    settings = Settings(
        logs=[str(folder)],
        model=str(models[task.kind]),
        output=tmp_path / "out",
        teacher_logits=[str(write_rows(tmp_path / "labelled.parquet", task, everything, logits))],
        reference=[str(write_rows(tmp_path / "past.parquet", task, some_texts(task, 3000, 3)))],
        test=[str(write_rows(tmp_path / "test.parquet", task, [[c[0].upper() + " !", c[1]] for c in quiet]))],
        sample=600,
        window="1d",
        show_text=True,
        progress=False,
        thresholds=Thresholds(fidelity=0.7, new_tokens=0.05),
    )
    result = Monitor(settings).run()
    first, second = result["windows"]
    assert (first["rows"], first["requests"], first["time"]) == (400, 40, "1970-01-11 00:00")
    assert first["psi"] < 0.1 < 0.25 < second["psi"]
    assert first["new"]["1"]["share"] == 0
    share = np.mean([word == "zebra" for column in moved for text in column for word in text.split()])
    assert second["new"]["1"]["share"] == pytest.approx(share, abs=0.002)
    assert result["new_tokens"][0]["token"] == "zebra"
    assert 0.95 < first["fidelity"]["agreement"]["value"] <= 1
    assert second["fidelity"]["agreement"]["value"] < 0.5
    assert first["fidelity"]["correlation"]["value"] > 0.99
    assert {(entry["what"], entry["where"]) for entry in result["alerts"]} >= {
        (what, "1970-01-12 00:00") for what in ("psi", "fidelity", "new_tokens")
    }
    assert not [entry for entry in result["alerts"] if entry["where"] == "1970-01-11 00:00"]
    assert result["skew"]["largest"] < 1e-6
    page = (tmp_path / "out" / "monitor.html").read_text(encoding="utf-8")
    ordered = task.kind == "graded" or len(task.fields) == 2
    assert (page.index("Correlation") < page.index("Fidelity")) == ordered

    # What comes out is what goes in: fresh rows with the teacher's logits, none of them a test row.
    fresh = read_table(tmp_path / "out" / "fresh")
    assert fresh.column_names == [
        *task.fields,
        *(["logit"] if task.n_logits == 1 else ["logit_0", "logit_1", "logit_2"]),
    ]
    assert fresh.num_rows == result["fresh"]["rows"]
    rows = list(zip(*(fresh[name].to_pylist() for name in task.fields), strict=True))
    assert len(set(rows)) == len(rows)
    assert (quiet[0][0], *(column[0] for column in quiet[1:])) not in rows
    known = dict(zip(zip(*everything, strict=True), logits, strict=True))
    fresh_logits = np.stack([fresh[name].to_numpy() for name in fresh.column_names[len(task.fields) :]], 1)
    np.testing.assert_allclose(fresh_logits, [known[row] for row in rows], rtol=1e-6)
    assert result["fresh"]["unlabelled"] == 0

    if task is NEWS:
        return
    # Looked at again, it is the same; the reference is not read again.
    written = (tmp_path / "out" / "monitor.json").read_bytes()
    assert read_json(tmp_path / "out" / "monitor.json")["overall"] == result["overall"]
    kept = (tmp_path / "out" / "reference.safetensors").stat().st_mtime_ns
    Monitor(settings).run()
    assert (tmp_path / "out" / "monitor.json").read_bytes() == written
    assert (tmp_path / "out" / "reference.safetensors").stat().st_mtime_ns == kept


@pytest.fixture(scope="module")
def watched(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, Any]]:
    """Returns settings of a log without teacher and reference, beside a run."""
    root = tmp_path_factory.mktemp("watched")
    columns = some_texts(REVIEWS, 1000, 4, [*WORDS, "sekret<b>"])
    columns[0][:3] = ["", "  ", "a\0b"]
    folder = write_logs(root / "log", REVIEWS, [columns, columns])
    (root / "log" / "torn").write_bytes((folder / "0.tfrecord").read_bytes()[:500])
    settings = Settings([str(folder)], str(models["binary"]), root / "out", sample=50, progress=False)
    return settings, Monitor(settings).run()


def test_without_teacher_and_reference_there_is_drift_alone(watched: tuple[Settings, dict[str, Any]]) -> None:
    settings, result = watched
    assert result["fidelity"] is None
    assert result["overall"]["new"] is None
    assert result["baseline"] == "first window"
    assert result["overall"]["psi"] == pytest.approx(0, abs=0.01)
    assert result["logs"]["broken"] == {"truncated": 1}
    assert result["logs"]["unusable"] == {"empty": 6, "NUL byte": 3}  # the torn file repeats a request
    assert read_table(settings.output / "sample").num_rows <= 50
    assert "no teacher" in summary(result)
    assert not (settings.output / "fresh").exists()


def test_texts_of_the_log_stay_in_their_folder(watched: tuple[Settings, dict[str, Any]]) -> None:
    settings, result = watched
    for name in ("monitor.html", "monitor.json", "broken.jsonl"):
        assert "sekret" not in (settings.output / name).read_text()
    page = render({**result, "new_tokens": [{"token": "<script>", "count": 3}]})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for outside in ("http:", "https:", "src=", "@import"):
        assert outside not in page.replace("http-equiv", "")
    json.loads((settings.output / "monitor.json").read_text())


def test_a_run_folder_stands_for_its_parts_and_gets_a_recipe(models: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "shop"
    columns = some_texts(PAIRS, 300, 5)
    write_rows(run / "data/transfer/part-00000.parquet", PAIRS, columns)
    write_rows(run / "data/test/part-00000.parquet", PAIRS, [column[:5] for column in columns])
    write_json(run / "data/stats.json", {"transfer": 300, "augmented": 100})
    config = Config(
        name="shop",
        data=DataConfig(
            train=("judged.tsv",), unlabelled=("old.tsv",), fields=PAIRS.fields, unlabelled_fields=("q", "title")
        ),
        teachers={"mini": TeacherConfig(preset="x")},
    )
    write_json(run / "config.json", config.to_dict().to_dict())
    folder = write_logs(tmp_path / "log", PAIRS, [columns])
    labelled = write_rows(tmp_path / "l.parquet", PAIRS, columns, expected_logits(PAIRS, columns)[:, None])
    settings = Settings(
        [str(folder)], str(models["graded"]), tmp_path / "out", None, [str(labelled)], run, sample=100, progress=False
    )
    result = Monitor(settings).run()
    assert result["reference"]["rows"] == 300
    assert result["overall"]["new"]["2"]["share"] == 0
    assert result["fresh"]["held_out"] > 0
    assert result["next"].split() == [
        "tfb2d",
        "train",
        f"--config={tmp_path / 'out/next.py'}",
        f"--workdir={run}-next",
    ]
    recipe = Config.from_dict(runpy.run_path(str(tmp_path / "out" / "next.py"))["get_config"]())
    assert recipe.data.unlabelled == ("old.tsv", str(tmp_path / "out" / "fresh"))
    # `q` is what the run's unlabelled files call the query
    fresh = read_table(tmp_path / "out" / "fresh")
    assert fresh.column_names == ["query", "title", "q", "logit"]
    assert fresh["q"] == fresh["query"]


class NoTexts(Hasher):
    """Knows what it would hash, and fails where it has to."""

    def __call__(self, *_: object) -> None:
        raise AssertionError("a text is hashed anew")


def test_a_runs_hashed_rows_give_the_same_reference(models: dict[str, Path], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", progress=False)
    for split in HASHED:
        write_rows(run.split(split) / "part-00000.parquet", PAIRS, some_texts(PAIRS, 300, 5))
    config = Config(data=DataConfig(train=("x",), fields=PAIRS.fields), teachers={"any": TeacherConfig(preset="x")})
    run.write_config(config)
    outcome = DataOutcome(300, 300, 300, transfer=300, unlabelled=0, augmented=100, rejected=0)
    write_record(run.data, Record("made", outcome=outcome.to_json()))
    scorer, hasher = Scorer(models["graded"]), Hasher((1, 2), config.student.max_tokens)
    patterns = [str(run.split("transfer"))]
    of_texts = build(patterns, scorer, hasher, 0, "made", "auto", False)
    write_record(run.rows("transfer").parent, Record("made", outcome=hash_splits(run, config).to_json()))
    of_rows = build(patterns, scorer, NoTexts((1, 2), config.student.max_tokens), 0, "made", "auto", False)
    np.testing.assert_array_equal(of_rows.known.bits, of_texts.known.bits)
    np.testing.assert_array_equal(of_rows.scores, of_texts.scores)
    assert of_rows.scores.sum() == 200  # rows that people wrote
    assert of_rows.rows == of_texts.rows == 300


def test_what_cannot_be_used_is_named(models: dict[str, Path], tmp_path: Path) -> None:
    folder = write_logs(tmp_path / "log", REVIEWS, [some_texts(REVIEWS, 20, 6)])
    good: dict[str, Any] = {
        "logs": [str(folder)],
        "model": str(models["binary"]),
        "output": tmp_path / "out",
        "progress": False,
    }
    for wrong, message in [
        ({"logs": [str(tmp_path / "nothing")]}, "nothing found"),
        ({"model": str(tmp_path)}, "neither a SavedModel"),
        ({"run": tmp_path}, r"no config\.json"),
        ({"reference": [str(tmp_path / "gone.parquet")]}, "nothing found"),
        ({"name": "other"}, "another model or version"),
        ({"model": str(models["graded"])}, "inputs text"),
        ({"window": "week"}, "--window"),
        ({"teacher_logits": [str(folder / "0.tfrecord")]}, "tfrecord"),
    ]:
        with pytest.raises(DataError, match=message):
            Monitor(Settings(**{**good, **wrong})).run()


def test_help_answers_at_once() -> None:
    for command in ("tfb2d.monitor", "tfb2d.monitor.shadow"):
        shown = subprocess.run([sys.executable, "-m", command, "--help"], capture_output=True, text=True)
        assert "--logs" in shown.stdout
        began = time.process_time()
        code = f"import sys, {command}; print('tensorflow' in sys.modules or 'matplotlib' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
        assert time.process_time() - began < 2
