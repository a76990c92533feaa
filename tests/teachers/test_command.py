"""The label command as it is typed."""

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import Done, run
from tests.teachers.harness import phrases
from tfb2d.config import LabelConfig
from tfb2d.errors import DataError, RunError
from tfb2d.resume import read_record, write_record
from tfb2d.teachers.files import label_files
from tfb2d.teachers.teacher import Teacher


def label(*arguments: str) -> Done:
    return run("label", *arguments)


def test_files_are_labelled_where_they_stopped(saved: Path, teacher: Teacher, tmp_path: Path) -> None:
    queries, titles = phrases(150, 1, 2), phrases(150, 2)
    rows = list(enumerate(zip(queries, titles, strict=True)))
    first = [f"{i}\t{query}\tkept\t{title}\n" for i, (query, title) in rows[:100]]
    (tmp_path / "log.tsv").write_text("".join(["id\tterm\tlabel\ttitle\n", *first, "7\tragged\n"]))
    second = [f"{query}\t{title}\t{i}\n" for i, (query, title) in rows[100:]]
    (tmp_path / "more.tsv").write_text("".join(["term\ttitle\tid\n", *second]))
    flags = [f"--teacher={saved}", f"--input={tmp_path}/log.tsv,{tmp_path}/more.tsv", f"--output={tmp_path / 'out'}"]
    flags += ["--fields=term,title", "--rows_per_shard=60", "--noprogress"]
    answer = label(*flags)
    assert answer.returncode == 0, answer.stderr
    assert "150 rows labelled" in answer.stdout
    assert "1 row rejected" in answer.stdout
    table = pq.read_table(tmp_path / "out")
    assert table.column_names == ["term", "title", "id", "label", "logit"]
    assert table["term"].to_pylist() == queries
    assert table["id"].to_pylist() == [str(i) for i in range(150)]
    assert table["label"].to_pylist() == ["kept"] * 100 + [""] * 50
    assert abs(table["logit"].to_numpy() - teacher.logits([queries, titles])[:, 0]).max() < 1e-5
    assert "ragged" in (tmp_path / "out.rejected.jsonl").read_text()

    last = tmp_path / "out" / "part-00002.parquet"
    content = last.read_bytes()
    last.unlink()
    write_record(
        tmp_path / "out", dataclasses.replace(read_record(tmp_path / "out"), outcome=None)
    )  # as before the end
    config = LabelConfig(rows_per_shard=60)
    inputs = [f"{tmp_path}/log.tsv", f"{tmp_path}/more.tsv"]
    kept = (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns
    assert label_files(saved, inputs, tmp_path / "out", config, ["term", "title"]).rows == 150
    assert last.read_bytes() == content
    assert (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns == kept

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="name another folder"):
        label_files(saved, inputs, tmp_path / "mine", config, ["term", "title"], progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--teacher": "nowhere"}, "nowhere has no teacher.json"),
        ({"--fields": "query"}, "the teacher reads 2 columns (query, title), not 1"),
        ({"--fields": "query,tittle"}, "did you mean 'title'?"),
        ({"--input": "nothing.tsv"}, "nothing.tsv: nothing found"),
        ({"--feilds": "a"}, "did you mean --fields?"),
        ({"--rows_per_shard": "0"}, "rows_per_shard"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(changes: dict[str, str], message: str, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("query\ttitle\na\tb\n")
    flags = {
        "--teacher": str(saved),
        "--input": str(tmp_path / "log.tsv"),
        "--output": str(tmp_path / "out"),
        **changes,
    }
    answer = label(*(f"{name}={value}" for name, value in flags.items()))
    assert answer.returncode != 0
    assert message in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_too_many_bad_rows_stop_it_before_it_starts(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("query\ttitle\na\tb\n" + "ragged\n" * 5)
    with pytest.raises(DataError, match="5 of 6 rows cannot be used"):
        label_files(saved, [str(tmp_path / "log.tsv")], tmp_path / "out", LabelConfig(), progress=False)
    assert not (tmp_path / "out").exists()
