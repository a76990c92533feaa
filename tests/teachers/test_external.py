import gzip
import json
import logging
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.teachers.harness import PAIR, SINGLE, write_table
from tfb2d.config import TeacherConfig
from tfb2d.data.task import Task
from tfb2d.errors import DataError
from tfb2d.teachers.external import attach_logits, attach_splits


def attach(path: Path | str, source: Path, task: Task = SINGLE, column: str = "") -> tuple[pa.Table, dict[str, int]]:
    out = source.parent / "out"
    counts = attach_logits(TeacherConfig(logits=(str(path),), logits_column=column), task, source, out)
    return pa.concat_tables(pq.read_table(part) for part in sorted(out.glob("part-*"))), counts


def same(table: pa.Table, other: pa.Table) -> bool:
    return table["text"] == other["text"] and np.array_equal(table["logit"], other["logit"], equal_nan=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    texts = ["a", "b", "a", "", "Ä b", "new"]
    return write_table(tmp_path / "source", {"text": texts, "label": [0.0] * 6}, parts=2)


def test_rows_find_their_logits(source: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.tsv").write_text("logit\ttext\n-2\tb\n1.5\ta\n7\tÄ b\n8\tä b\n9\t new\n", encoding="utf-8")
    table, counts = attach(tmp_path / "scores.tsv", source)
    assert table.column_names == ["text", "logit"]
    assert table["text"].to_pylist() == ["a", "b", "a", "", "Ä b", "new"]
    assert np.array_equal(table["logit"].to_numpy(), np.float32([1.5, -2, 1.5, np.nan, 7, 9]), equal_nan=True)
    assert [counts[name] for name in ("matched", "exact", "loose", "missing", "unused")] == [5, 4, 1, 1, 1]
    assert sorted(path.name for path in (source.parent / "out").iterdir()) == sorted(p.name for p in source.iterdir())


def test_every_kind_of_file_and_probabilities(source: Path, tmp_path: Path) -> None:
    rows = [{"text": "a", "probability": 0.5}, {"text": "b", "probability": 1.0}, {"text": "new", "probability": 0}]
    (tmp_path / "scores.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table, _ = attach(tmp_path / "scores.jsonl", source)
    expected = [0, math.log(1e6 - 1), 0, math.nan, math.nan, -math.log(1e6 - 1)]
    assert np.allclose(table["logit"].to_numpy(), expected, equal_nan=True)
    with gzip.open(tmp_path / "scores.csv.gz", "wt") as file:
        file.write('text,score\n"a",0.5\nb,1\n"new",0\n')
    assert same(attach(tmp_path / "scores.csv.gz", source)[0], table)
    pq.write_table(pa.table({"text": ["a", "b", "new"], "relevance_prob": [0.5, 1, 0]}), tmp_path / "scores.parquet")
    assert same(attach(tmp_path / "scores.parquet", source, column="relevance_prob")[0], table)
    pq.write_table(pa.table({"text": ["a"], "llm": [-3.25], "logit": [1.0]}), tmp_path / "scores.parquet")
    assert attach(tmp_path / "scores.parquet", source, column="llm")[0]["logit"][0].as_py() == -3.25


def test_a_text_scored_twice_gets_the_mean(source: Path, tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("text\tlogit\na\t1\nb\t5\na\t2\n")
    (tmp_path / "two.tsv").write_text("text\tlogit\na\t6\n")
    table, counts = attach(tmp_path / "*.tsv", source)
    assert table["logit"].to_pylist()[:3] == [3, 5, 3]
    assert counts["matched"] == 3


def test_pairs_and_classes(tmp_path: Path) -> None:
    task = Task(PAIR.fields, "multiclass", ("x", "y", "z"))
    source = write_table(tmp_path / "source", {"query": ["a", "a b"], "title": ["b c", "c"], "label": [0.0, 0.0]})
    pq.write_table(
        pa.table({"title": ["b c"], "query": ["a"], "logit_0": [1.0], "logit_1": [2.0], "logit_2": [3.0]}),
        tmp_path / "logits.parquet",
    )
    table, counts = attach(tmp_path / "logits.parquet", source, task)
    assert table.column_names == ["query", "title", "logit_0", "logit_1", "logit_2"]
    assert [counts[name] for name in ("matched", "missing", "unused")] == [1, 1, 0]  # "a" + "b c" is not "a b" + "c"
    assert [table[f"logit_{i}"][0].as_py() for i in range(3)] == [1, 2, 3]
    (tmp_path / "p.tsv").write_text(
        "query\ttitle\tprobability_0\tprobability_1\tprobability_2\na\tb c\t0.2\t0.7\t0.1\n"
    )
    table, _ = attach(tmp_path / "p.tsv", source, task)
    values = np.exp([table[f"logit_{i}"][0].as_py() for i in range(3)])
    assert np.allclose(values / values.sum(), [0.2, 0.7, 0.1], atol=1e-6)


def test_splits_are_judged_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scores of the transfer set alone are good ones, though no row of the test split has any; the log says so."""
    splits = {}
    for name in ("transfer", "test"):
        texts = [f"{name} {i}" for i in range(20)]
        splits[name] = (write_table(tmp_path / name, {"text": texts}), tmp_path / "out" / name)
    lines = [f"transfer {i}\t{i}" for i in range(20)]
    (tmp_path / "scores.tsv").write_text("\n".join(["text\tlogit", *lines]) + "\n")
    config = TeacherConfig(logits=(str(tmp_path / "scores.tsv"),))
    with caplog.at_level(logging.INFO, logger="absl"):
        counts = attach_splits(config, SINGLE, splits)
    assert "transfer: 20 of 20 rows have a score" in caplog.text
    assert "scores match 0 of the 20 rows of test" in caplog.text
    assert "score row 'transfer 0', data row 'test 0'" in caplog.text
    assert [counts[name]["matched"] for name in splits] == [20, 0]
    assert [counts[name]["unused"] for name in splits] == [0, 20]
    with pytest.raises(DataError, match="0 of 20 different texts"):
        attach_splits(config, SINGLE, {"test": splits["test"]})
    for scored, warned in ((9, True), (10, False)):
        lines = [*lines[:20], *(f"test {i}\t{i}" for i in range(scored))]
        (tmp_path / "scores.tsv").write_text("\n".join(["text\tlogit", *lines]) + "\n")
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="absl"):
            attach_splits(config, SINGLE, splits)
        assert ("rows of test" in caplog.text) == warned


@settings(max_examples=30)
@given(
    st.dictionaries(st.text("ab \t\"'ä𝄞", max_size=4).filter(str.strip), st.floats(-30, 30, width=32), min_size=1),
    st.data(),
)
def test_any_text_finds_its_own_score(
    tmp_path_factory: pytest.TempPathFactory, scores: dict[str, float], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    pq.write_table(pa.table({"text": list(scores), "logit": list(scores.values())}), folder / "scores.parquet")
    texts = [*scores, *data.draw(st.lists(st.sampled_from([*scores, "unknown"]), max_size=20))]
    source = write_table(folder / "source", {"text": texts})
    table, counts = attach(folder / "scores.parquet", source)
    expected = np.float32([scores.get(text, math.nan) for text in texts])
    assert np.array_equal(table["logit"].to_numpy(), expected, equal_nan=True)
    assert counts["unused"] == 0
