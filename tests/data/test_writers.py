import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.data.files import ENDINGS
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.data.writers import RowWriter
from tfb2d.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


def written(path: Path, columns: list[str], *batches: list[tuple[Any, ...]], **options: Any) -> list[tuple[Any, ...]]:
    """Reads what the writer wrote."""
    with RowWriter(path, path, columns, **options) as out:
        for batch in batches:
            out.write(batch)
    assert columns_of(path) == columns or not any(batches)
    rows = list(read_rows(path, columns))
    assert not any(row.problem for row in rows)
    return [row.values for row in rows]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_reads_back(ending: str, tmp_path: Path) -> None:
    rows = [("a b", "1"), ('"quoted", ', "漢字 𝕏"), ("x", "\udcff\udc80 bytes")]
    expected = rows if "parquet" not in ending else [*rows[:2], ("x", "�� bytes")]
    assert written(tmp_path / f"rows{ending}", ["text", "other, column"], rows[:1], [], rows[1:]) == expected


@given(ROWS)
def test_csv_and_json_lines_keep_any_text(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for ending in (".jsonl", ".parquet", ".csv"):
        if ending == ".csv" and any("\n" in text and "," in text for row in rows for text in row):
            continue  # a line of a text may look like a row: test_quoted.py
        assert written(folder / f"rows{ending}", ["one", "other"], rows) == rows


@given(ROWS)
def test_tsv_has_spaces_for_what_it_cannot_hold(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.tsv"
    with RowWriter(path, path, ["one", "other"]) as out:
        out.write(rows)
    flat = [tuple(text.translate({9: 32, 10: 32, 13: 32}) for text in row) for row in rows]
    assert [row.values for row in read_rows(path, ["one", "other"], quoting="none")] == flat
    assert out.flattened == sum(
        a != b for row, other in zip(rows, flat, strict=True) for a, b in zip(row, other, strict=True)
    )
    assert out.rows == len(rows)


def test_values_that_are_no_text(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 29)
    row = (1, 0.1, True, None, {"a": ["é", None]}, day)
    columns = list("abcdef")
    text = ("1", "0.1", "true", "", '{"a": ["é", null]}', "2024-02-29")
    assert written(tmp_path / "a.tsv", columns, [row]) == [text]
    assert written(tmp_path / "a.csv", columns, [row]) == [text]
    assert written(tmp_path / "a.jsonl", columns, [row]) == [(*row[:5], "2024-02-29")]
    assert "é" in (tmp_path / "a.jsonl").read_text()
    assert written(tmp_path / "a.parquet", columns, [row]) == [row]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    types = {"n": pa.int16(), "kind": pa.dictionary(pa.int32(), pa.string()), "raw": pa.binary(), "score": pa.float32()}
    rows = [(1, "a", "\udcff", 0.5), (None, None, None, None)]
    path = tmp_path / "a.parquet"
    assert written(path, [*types, "new"], [(*row, "x") for row in rows], types=types)[1] == (*rows[1], "x")
    schema = pq.read_schema(path)
    assert {name: schema.field(name).type for name in types} == types
    assert pq.read_table(path)["raw"][0].as_py() == b"\xff"


def test_parquet_says_where_a_type_changes(tmp_path: Path) -> None:
    with RowWriter(tmp_path / "a.parquet", tmp_path / "a.parquet", ["n"]) as out:
        out.write([(1,)])
        with pytest.raises(DataError, match=r"a\.parquet: column 'n', from row 2 on: not int64 throughout"):
            out.write([("two",)])


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{ending}"
    with RowWriter(path, path, ["a", "b"]):
        pass
    if "jsonl" not in ending:
        assert columns_of(path) == ["a", "b"]


def test_the_ending_and_the_columns_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown kind of file"):
        RowWriter(tmp_path / "a.txt", tmp_path / "a.txt", ["a"])
    with pytest.raises(DataError, match="'score' would occur twice"):
        RowWriter(tmp_path / "a.tsv", tmp_path / "a.tsv", ["score", "a", "score"])


def test_a_temporary_name_takes_the_form_of_the_last(tmp_path: Path) -> None:
    with RowWriter(tmp_path / ".a.123.tmp", tmp_path / "a.jsonl", ["a"]) as out:
        out.write([("x",)])
    assert json.loads((tmp_path / ".a.123.tmp").read_text()) == {"a": "x"}
