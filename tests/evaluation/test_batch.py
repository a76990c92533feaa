import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from tests.evaluation.tiny_model import NEWS, PAIRS, REVIEWS, expected_logits
from tests.full_disk import full_disk
from tests.tables import read, write
from tfb2d.data.files import ENDINGS
from tfb2d.data.readers import Reading
from tfb2d.errors import DataError
from tfb2d.evaluation.batch import score_columns, score_files


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_format_into_any_other(ending: str, scorers, tmp_path: Path) -> None:
    rows = [(str(row), f"text {row}" + " good" * (row % 3 == 0), "漢") for row in range(2500)]
    source = write(tmp_path / f"in{ending}", ["id", "text", "note"], rows)
    logits = expected_logits(REVIEWS, [[row[1] for row in rows]])
    for other in (".tsv", ".jsonl.gz", ".parquet"):
        output = tmp_path / f"out{other}"
        result = score_files(scorers["binary"], [source], output, progress=False)
        assert result.rows == 2500
        assert result.rejected == result.flattened == 0
        *kept, scores, given = zip(*read(output, ["id", "text", "note", "score", "logit"]), strict=True)
        assert list(zip(*kept, strict=True)) == rows
        assert np.array(given, float) == pytest.approx(logits)
        assert np.array(scores, float) == pytest.approx(expit(logits))
    assert pq.read_schema(output).field("score").type == pa.float32()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {source.name, "out.tsv", "out.jsonl.gz", "out.parquet"}
    )


def test_text_formats_hold_the_same_float32(scorers, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tsv", ["text"], [("x" * n,) for n in range(1, 300)])
    score_files(scorers["binary"], [source], tmp_path / "out.csv", progress=False)
    score_files(scorers["binary"], [source], tmp_path / "out.parquet", progress=False)
    text, exact = (read(tmp_path / name, ["score", "logit"]) for name in ("out.csv", "out.parquet"))
    assert np.array(text, np.float32).tolist() == np.array(exact, np.float32).tolist()


def test_many_classes(scorers, tmp_path: Path) -> None:
    assert score_columns(NEWS, "m_")[:3] == ["m_predicted", "m_score_sport", "m_score_politics"]
    source = write(tmp_path / "in.tsv", ["text", "label"], [("the trade", "x"), ("sport", "y"), ("politics", "z")])
    score_files(scorers["multiclass"], [source], tmp_path / "out.jsonl", progress=False)
    result = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["predicted"] for row in result] == ["trade", "sport", "politics"]
    assert [row["label"] for row in result] == ["x", "y", "z"]
    assert list(result[0]) == ["text", "label", *score_columns(NEWS)]
    assert sum(result[0][f"score_{name}"] for name in NEWS.classes) == pytest.approx(1)


def test_several_files_with_columns_of_their_own(scorers, tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", ["term", "name", "shop"], [("tv", "a match", "1")])
    write(tmp_path / "b.jsonl", ["name", "term", "price"], [("b", "tv", 2.5), ("c", None, None)])
    texts = ["term", "name"]
    result = score_files(
        scorers["graded"], [tmp_path], tmp_path / "out" / "o.jsonl", texts=texts, prefix="student_", progress=False
    )
    assert result.rows == 3
    rows = [json.loads(line) for line in (tmp_path / "out/o.jsonl").read_text().splitlines()]
    assert list(rows[0]) == ["term", "name", "shop", "price", "student_score", "student_logit"]
    assert [row["price"] for row in rows] == [None, 2.5, None]
    assert rows[2]["term"] is None  # a missing query is an empty one
    logits = expected_logits(PAIRS, [["tv", "tv", ""], ["a match", "b", "c"]])
    assert [row["student_logit"] for row in rows] == pytest.approx(logits)


def test_late_keys_of_json_lines(scorers, tmp_path: Path) -> None:
    lines = [{"text": "a"}, {"text": "b", "extra": {"deep": [1]}}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    score_files(scorers["binary"], [tmp_path / "in.jsonl"], tmp_path / "out.jsonl", progress=False)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["extra"] for row in rows] == [None, {"deep": [1]}]


def test_parquet_columns_keep_their_types(scorers, tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "n": pa.array([1, None], pa.int8()), "tags": [["x"], []]})
    pq.write_table(table, tmp_path / "in.parquet")
    score_files(scorers["binary"], [tmp_path / "in.parquet"], tmp_path / "out.parquet", progress=False)
    assert pq.read_table(tmp_path / "out.parquet").select(table.column_names).equals(table)


def test_bad_rows_are_rejected(scorers, tmp_path: Path) -> None:
    good = [f"good {row}".encode() for row in range(500)]
    bad = [b"\xff\xfe", b"a\0b", b"too\tmany", b"x" * 30_000, b"  "]
    lines = [line for at, line in enumerate(good) for line in ([line, bad[at]] if at < 5 else [line])]
    (tmp_path / "in.tsv.gz").write_bytes(gzip.compress(b"\n".join([b"text", *lines])))
    output = tmp_path / "out.tsv"
    result = score_files(scorers["binary"], [tmp_path / "in.tsv.gz"], output, reading=Reading(0.02), progress=False)
    assert (result.rows, result.rejected, sum(result.reasons.values())) == (500, 5, 5)
    assert [row[0] for row in read(output, ["text"])] == [line.decode() for line in good]
    rejected = [json.loads(line) for line in (tmp_path / "out.tsv.rejected.jsonl").read_text().splitlines()]
    assert [entry["row"] for entry in rejected] == [3, 5, 7, 9, 11]
    assert [entry["reason"].split()[0] for entry in rejected] == ["invalid", "NUL", "ragged", "longer", "empty"]
    with pytest.raises(DataError, match="5 of 505 rows cannot be used"):
        score_files(
            scorers["binary"], [tmp_path / "in.tsv.gz"], tmp_path / "no.tsv", reading=Reading(0.005), progress=False
        )
    assert not (tmp_path / "no.tsv").exists()


def test_a_hopeless_file_is_given_up_early(scorers, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("text\n" + "two\tfields\n" * 300_000)
    with pytest.raises(DataError, match=r"1\d\d,\d{3} of 1\d\d,\d{3} rows cannot be used"):
        score_files(scorers["binary"], [tmp_path / "in.tsv"], tmp_path / "out.tsv", progress=False)


def test_what_cannot_work_is_said_and_leaves_nothing(scorers, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", ["text", "score"], [("a", "1")])
    before = sorted(tmp_path.iterdir())

    def fails(message: str, files: list[Path], output: str, **options: Any) -> None:
        with pytest.raises(DataError, match=message):
            score_files(scorers["binary"], files, tmp_path / output, progress=False, **options)
        assert sorted(tmp_path.iterdir()) == before

    fails("column 'score' already; --prefix=", [source], "out.csv")
    fails("is one of the inputs", [source], "in.csv", prefix="x_")
    fails("unknown kind of file", [source], "out.xml", prefix="x_")
    fails("nothing found; did you mean .*in.csv", [tmp_path / "inn.csv"], "out.csv")
    fails("none of the columns 'body'", [source], "out.csv", texts=["body"], prefix="x_")
    (tmp_path / "empty.tsv").write_text("text\n")
    before = sorted(tmp_path.iterdir())
    fails("no rows, only headers", [tmp_path / "empty.tsv"], "out.tsv")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and nothing else")
    before = sorted(tmp_path.iterdir())
    fails(r"cut\.parquet", [tmp_path / "cut.parquet"], "out.tsv")


def test_an_output_that_cannot_be_completed_leaves_the_old_one(scorers, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tsv", ["text"], [(f"text {row}",) for row in range(5000)])
    (tmp_path / "out.tsv").write_text("the last good one")
    with full_disk(50_000), pytest.raises(OSError, match="File too large"):  # it takes three times as much
        score_files(scorers["binary"], [source], tmp_path / "out.tsv", progress=False)
    assert (tmp_path / "out.tsv").read_text() == "the last good one"
    assert len(list(tmp_path.iterdir())) == 2


def test_memory_does_not_grow_with_the_file(scorers, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        source = write(tmp_path / f"{rows}.tsv", ["text", "note"], [(f"text {row}", "x" * 300) for row in range(rows)])
        tracemalloc.start()
        score_files(scorers["binary"], [source], tmp_path / f"{rows}.jsonl", progress=False)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(500)
    assert peak(9000) < 1.5 * peak(3000)
