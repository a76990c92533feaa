"""One rule for bad rows, whatever the format: what is rejected, and what is said about it."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.data.checked_rows import CheckedRow, read_checked_rows, read_texts
from tfb2d.data.readers import Reading
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import read_number
from tfb2d.errors import DataError


def read(path: Path, fields=("text",), **options) -> tuple[list[CheckedRow], list[tuple[int, str, str, str]]]:
    """Reads the good rows of a file, and row, field, reason and excerpt of the others."""
    out = path.with_name("rejected.jsonl")
    with Rejects(out, 1.0) as rejects:
        rows = list(read_checked_rows(path, fields, rejects, **options))
    apart = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["file"] for row in apart} <= {str(path)}
    assert rejects.count == len(apart)
    return rows, [(row["row"], row["field"], row["reason"], row["excerpt"]) for row in apart]


def write_jsonl(path: Path, objects: list[dict]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))
    return path


def test_scores_from_text(tmp_path):
    lines = [
        b"text,logit",
        b"good,0.5",
        b"caf\xe9,1",
        b"words,high",
        b"nothing,",
        b"nan,nan",
        b"infinite,inf",
        b"digits,1_0",
        b",3",
        b"short",
        b"last,-2e1",
    ]
    path = tmp_path / "scores.csv"
    path.write_bytes(b"\n".join(lines))
    rows, apart = read(path, numbers=["logit"])
    assert rows == [CheckedRow(2, ("good",), (0.5,), ()), CheckedRow(11, ("last",), (-20.0,), ())]
    assert apart == [
        (3, "text", "invalid UTF-8", "caf\\udce9"),
        (4, "logit", "not a number", "high"),
        (5, "logit", "missing number", ""),
        (6, "logit", "missing number", "nan"),
        (7, "logit", "not a finite number", "inf"),
        (8, "logit", "not a number", "1_0"),
        (9, "text", "empty text", ""),
        (10, "", "ragged row: not the header's 2 columns", "1 columns: short"),
    ]


def test_scores_from_json_lines(tmp_path):
    objects = [
        {"text": "good", "score": 0.25},
        {"text": 5, "score": 1},
        {"text": None, "score": 1},
        {"text": "true", "score": True},
        {"text": "list", "score": [1]},
        {"text": "null", "score": None},
        {"text": "none"},
        {"text": "as text", "score": " 1 "},
        {"text": "huge", "score": 10**400},
        {"text": "beyond", "score": 1.5},
    ]
    rows, apart = read(write_jsonl(tmp_path / "a.jsonl", objects), numbers=["score"], lowest=0.0, highest=1.0)
    assert [(row.number, row.texts, row.numbers) for row in rows] == [
        (1, ("good",), (0.25,)),
        (8, ("as text",), (1.0,)),
    ]
    assert [row[:3] for row in apart] == [
        (2, "text", "not text but int"),
        (3, "text", "empty text"),
        (4, "score", "not a number"),
        (5, "score", "not a number"),
        (6, "score", "missing number"),
        (7, "score", "missing number"),
        (9, "score", "not a number"),
        (10, "score", "number outside 0 to 1"),
    ]


def test_scores_from_parquet(tmp_path):
    bad_bytes = pa.array([b"ok", b"caf\xe9", None, b"d", b"e"], pa.binary())
    table = pa.table(
        {
            "query": ["a", "b", "c", None, ""],
            "title": pa.Array.from_buffers(pa.string(), 5, bad_bytes.buffers()),
            "logit_0": pa.array([0.5, 1.0, math.nan, 2.0, 3.0], pa.float32()),
            "logit_1": [1, 2, None, 4, None],
            "id": ["r1", "r2", "r3", "r4", "r5"],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    numbers, fields = ["logit_0", "logit_1"], ("query", "title")
    rows, apart = read(tmp_path / "a.parquet", fields, numbers=numbers, others=["id", "no such column"])
    assert rows == [
        CheckedRow(1, ("a", "ok"), (0.5, 1.0), ("r1", None)),
        CheckedRow(4, ("", "d"), (2.0, 4.0), ("r4", None)),
    ]
    assert apart == [
        (2, "title", "invalid UTF-8", "caf\\udce9"),
        (3, "logit_0", "missing number", "nan"),
        (5, "logit_1", "missing number", "None"),
    ]
    rows, apart = read(tmp_path / "a.parquet", fields, numbers=numbers, keep_unscored=True)
    assert [row.number for row in rows] == [1, 3, 4]
    assert all(map(math.isnan, rows[1].numbers))
    assert [row[:3] for row in apart] == [(2, "title", "invalid UTF-8"), (5, "logit_1", "missing number")]


def test_long_texts_and_missing_columns(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x" * 11}, {"text": "y" * 10}])
    rows, apart = read(path, reading=Reading(max_chars=10))
    assert [row.number for row in rows] == [2]
    assert apart[0][:3] == (1, "text", "longer than data.max_chars=10 characters")
    with pytest.raises(DataError, match=r"a\.jsonl has no column 'logit'"):
        read(path, numbers=["logit"])


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (" 0.5\t", 0.5),
        ("-1e-3", -0.001),
        ("", math.nan),
        (None, math.nan),
        ("NaN", math.nan),
        (math.nan,) * 2,
    ],
)
def test_numbers(value, number):
    assert read_number(value) == pytest.approx(number, nan_ok=True)


@pytest.mark.parametrize("value", [True, "one", "1,5", "1_000", "١", "0x10", {}, [1.0], 10**400])
def test_not_numbers(value):
    assert read_number(value) is None


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)


@settings(max_examples=30)
@given(st.lists(st.tuples(json_values, json_values), min_size=1, max_size=20))
def test_every_row_is_good_or_rejected(tmp_path_factory, pairs):
    objects = [{"text": text, "logit": logit} for text, logit in pairs]
    path = write_jsonl(tmp_path_factory.mktemp("rows") / "a.jsonl", objects)
    rows, apart = read(path, numbers=["logit"])
    assert sorted([row.number for row in rows] + [row[0] for row in apart]) == list(range(1, len(pairs) + 1))
    for row in rows:
        assert row.texts == (objects[row.number - 1]["text"],)
        assert math.isfinite(row.numbers[0])


def test_texts_alone(tmp_path, caplog):
    first = write_jsonl(tmp_path / "a.jsonl", [{"q": "a", "t": "b"}, {"q": 1, "t": "b"}, {"q": None, "t": "c"}])
    second = tmp_path / "b.csv"
    second.write_bytes(b"t,q\nx,y\nz\nb\xff,y\n")
    read_bytes: list[int] = []
    assert list(read_texts([first, second], ("q", "t"), read_bytes.append)) == [("a", "b"), ("", "c"), ("y", "x")]
    assert sum(read_bytes) == first.stat().st_size + second.stat().st_size
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("3 rows left out, which cannot be used: 1 not text but int, 1 ragged row")
    assert f"{first}, row 2, field 'q': not text but int: '1'" in message
