import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.data.files import format_of
from tfb2d.data.quoted import MAX_RECORD
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.errors import DataError

COLUMNS = ("text", "label")
ENDINGS = [kind + zipped for kind in ("tsv", "csv", "jsonl") for zipped in ("", ".gz", ".zst")] + ["parquet"]
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# a line of a text with a comma may look like a row, which test_quoted.py is about
csv_text = any_text.filter(lambda s: not ("\n" in s and "," in s))
line_text = any_text.filter(lambda s: s and not set(s) & set("\t\n\r"))


def packed(content: bytes, ending: str) -> bytes:
    """Compresses content as the ending says."""
    if ending.endswith(".gz"):
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if ending.endswith(".zst") else content


def encoded(rows: list[tuple[str, str]], kind: str) -> bytes:
    """Rows of COLUMNS as a file of that kind."""
    if kind == "tsv":
        return "".join(f"{a}\t{b}\n" for a, b in [COLUMNS, *rows]).encode()
    if kind == "jsonl":
        return "".join(
            json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
        ).encode()
    if kind == "csv":
        quoted = ([f'"{text.replace(chr(34), chr(34) * 2)}"' for text in row] for row in [COLUMNS, *rows])
        return "".join(",".join(row) + "\r\n" for row in quoted).encode()
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], COLUMNS), out)
    return out.getvalue()


def read(path: Path, columns=COLUMNS, optional=(), quoting="auto") -> list[tuple]:
    return [row.values for row in read_rows(path, columns, optional, quoting=quoting) if not row.problem]


def problems(path: Path, columns=COLUMNS) -> list[tuple[int, str]]:
    return [(row.number, row.problem.reason) for row in read_rows(path, columns) if row.problem]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=40)
@given(data=st.data())
def test_what_was_written_is_read(tmp_path_factory, ending, data):
    kind = ending.split(".")[0]
    text = {"tsv": line_text, "csv": csv_text}.get(kind, any_text)
    quoting = "none" if kind == "tsv" else "auto"
    rows = data.draw(st.lists(st.tuples(text, text), min_size=1, max_size=20))
    path = tmp_path_factory.mktemp("rows") / f"a.{ending}"
    path.write_bytes(packed(encoded(rows, kind), ending))
    assert read(path, quoting=quoting) == rows
    assert columns_of(path) == list(COLUMNS)
    assert read(path, ("label",), ("nowhere", "text"), quoting=quoting) == [(label, None, text) for text, label in rows]


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_byte_order_mark_and_crlf(write, name):
    rows = [("höll", "1"), ("b", "0")]
    path = write(name, b"\xef\xbb\xbf" + encoded(rows, name[2:]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert read(path) == rows


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != "parquet"])
def test_lines_that_end_in_carriage_returns(write, ending):
    rows = [(f"text {i}", str(i)) for i in range(3)]
    content = encoded(rows, ending.split(".")[0]).replace(b"\r\n", b"\n").replace(b"\n", b"\r")
    path = write(f"a.{ending}", packed(b"\xef\xbb\xbf" + content, ending))
    assert read(path) == rows
    first = 1 if ending.startswith("jsonl") else 2
    assert [row.number for row in read_rows(path, COLUMNS)] == [first, first + 1, first + 2]


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_last_line_and_blank_lines(write, end):
    assert read(write("a.tsv", "text\tlabel\n\na\t1\n\nb\t" + end)) == [("a", "1"), ("b", "")]
    assert read(write("a.csv", "text,label\n\na,1\n\nb," + end)) == [("a", "1"), ("b", "")]
    assert read(write("a.jsonl", '\n{"text": "a", "label": 1}\n\n{"text": "b"}' + end)) == [("a", 1), ("b", None)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_in_upper_case(write, ending):
    path = write(f"A.{ending.upper()}", packed(encoded([("höll", "1")], ending.split(".")[0]), ending))
    assert read(path) == [("höll", "1")]
    assert format_of(path) == "." + ending.split(".")[0]


def test_row_numbers_are_lines(write):
    path = write("a.csv", 'text,label\n"one\nand\nmore",1\n\ntwo,0\n')
    assert [row.number for row in read_rows(path, COLUMNS)] == [2, 6]
    assert [row.number for row in read_rows(write("a.tsv", "text\tlabel\na\t1\n\nb\t0\n"), COLUMNS)] == [2, 4]


def test_tsv_has_no_quotes(write):
    assert read(write("a.tsv", 'text\tlabel\n"a\t1\n5" pipe\t0\n')) == [('"a', "1"), ('5" pipe', "0")]


def test_quote_within_an_unquoted_csv_field_is_text(write):
    assert read(write("a.csv", 'text,label\n5" pipe,1\n"say ""hi""",0\n')) == [('5" pipe', "1"), ('say "hi"', "0")]


def test_stray_csv_quote_costs_its_line_only(write):
    path = write("a.csv", 'text,label\na,1\n"never closed,0\nb,1\nc,"0"\n"d",1\n')
    assert read(path) == [("a", "1"), ("b", "1"), ("c", "0"), ("d", "1")]
    ((number, reason),) = problems(path)
    assert number == 3
    assert reason.startswith("not CSV")


def test_csv_quote_that_is_never_closed_costs_its_line_only(write):
    rows = 3 * MAX_RECORD // 1000
    path = write("a.csv", 'text,label\n"never closed,0\n' + ("x" * 997 + ",1\n") * rows)
    assert len(read(path)) == rows
    assert problems(path) == [(2, "a quote that is never closed")]


def test_ragged_rows(write):
    for name, separator in (("a.tsv", "\t"), ("a.csv", ",")):
        path = write(name, "text,label\na,1\nb\nc,1,2\nd,0\n".replace(",", separator))
        assert read(path) == [("a", "1"), ("d", "0")]
        assert problems(path) == [
            (3, "ragged row: not the header's 2 columns"),
            (4, "ragged row: not the header's 2 columns"),
        ]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_endless_line_is_set_apart(write, name):
    rows = [("a", "1"), ("x" * 10_000_000, "1"), ("b", "0")]
    path = write(name, encoded(rows, name[2:]))
    assert read(path) == [rows[0], rows[2]]
    ((number, reason),) = problems(path)
    assert number == (2 if name == "a.jsonl" else 3)
    assert "longer than 4,194,304 bytes" in reason


def test_bad_bytes_pass_as_surrogates(write):
    for name in ("a.tsv", "a.csv"):
        path = write(name, b"text,label\na\xff\0b,1\n".replace(b",", b"\t" if name == "a.tsv" else b","))
        assert read(path) == [("a\udcff\0b", "1")]
    column = pa.array([b"a\xff", None, b"c"], pa.binary())
    string = pa.Array.from_buffers(pa.string(), 3, column.buffers())
    pq.write_table(pa.table({"text": string, "raw": column}), write("a.parquet", b""))
    path = write("a.tsv", b"").with_name("a.parquet")
    assert read(path, ("text", "raw")) == [("a\udcff", "a\udcff"), (None, None), ("c", "c")]


def test_parquet_types(write):
    words = pa.array(["a", "b", "a"])
    table = pa.table(
        {"d": words.dictionary_encode(), "l": words.cast(pa.large_string()), "i": [1, 2, 3], "b": [True, False, None]}
    )
    path = write("a.parquet", b"")
    pq.write_table(table, path)
    assert read(path, ("d", "l", "i", "b")) == [("a", "a", 1, True), ("b", "b", 2, False), ("a", "a", 3, None)]


def test_bad_json_lines(write):
    path = write(
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": \n[1]\n'
        + "[" * 100_000
        + '\n{"text": "b", "label": '
        + "9" * 5000
        + "}\n",
    )
    assert read(path) == [("a", 1)]
    assert problems(path) == [(n, "not a JSON object") for n in (2, 3, 4, 5)]


def test_progress_adds_up_to_the_size(write):
    for ending in ENDINGS:
        path = write(f"a.{ending}", packed(encoded([("some text", "1")] * 1000, ending.split(".")[0]), ending))
        reported: list[int] = []
        assert len(list(read_rows(path, COLUMNS, progress=reported.append))) == 1000
        assert sum(reported) == path.stat().st_size


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_column_names_file_columns_and_the_nearest(write, ending):
    path = write(f"a.{ending}", packed(encoded([("a", "1")], ending.split(".")[0]), ending))
    with pytest.raises(
        DataError, match=r"a\.\S+ has no column 'texte'; did you mean 'text'\? \(its columns: 'text', 'label'\)"
    ):
        read(path, ("texte", "label"))
    with pytest.raises(
        DataError, match="has none of the columns 'query', 'title' that the config names; it has 'text', 'label'"
    ):
        read(path, ("query", "title"))


def test_json_lines_may_leave_a_key_out_but_not_all_of_them(write):
    rows = ['{"text": "a"}'] * 20
    assert read(write("a.jsonl", "\n".join([*rows, '{"label": 1}'])))[-1] == (None, 1)
    with pytest.raises(DataError, match="no column 'label'"):
        read(write("a.jsonl", "\n".join(rows * 100)))


def test_twice_the_same_column(write):
    path = write("a.tsv", "text\tlabel\ttext\na\t1\tb\n")
    assert read(path, ("label",)) == [("1",)]
    with pytest.raises(DataError, match=r"a\.tsv: column 'text' occurs more than once"):
        read(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_empty_file(write, ending):
    with pytest.raises(DataError, match=rf"a\.{ending} is empty"):
        read(write(f"a.{ending}", b""))
    if ending not in ("jsonl.gz", "jsonl.zst", "parquet", "jsonl"):
        with pytest.raises(DataError, match=rf"a\.{ending} is empty"):
            read(write(f"a.{ending}", packed(b"\n", ending)))


@pytest.mark.parametrize("ending", [e for e in ENDINGS if "." in e or e == "parquet"])
def test_file_cut_short(write, ending):
    rows = [(f"text number {i * 7919 % 10007}", "1") for i in range(20_000)]
    whole = packed(encoded(rows, ending.split(".")[0]), ending)
    for length in (len(whole) // 2, len(whole) - 3):
        with pytest.raises(DataError, match=rf"a\.{ending} cannot be read after row \d+ \(is it cut short\?\)"):
            read(write(f"a.{ending}", whole[:length]))


def test_parquet_with_a_hole(write):
    rows = [(f"text number {i * 7919 % 10007}", "1") for i in range(20_000)]
    whole = bytearray(encoded(rows, "parquet"))
    whole[1000:5000] = bytes(4000)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        read(write("a.parquet", bytes(whole)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"text\n", r"a\.txt: unknown kind of file; its name must end in one of \.tsv, \.csv"),
        ("a.tsv", "text\tlabel\n".encode("utf-16"), "is UTF-16; it must be UTF-8"),
        ("a.csv", b'"text,label\na,1\n', "the header, line 1, is not CSV"),
        ("a.tsv.gz", b"text\tlabel\na\t1\n", "cannot be read after row 0"),
    ],
)
def test_unreadable(write, name, content, message):
    path = write(name, content)
    with pytest.raises(DataError, match=message):
        read(path)
    with pytest.raises(DataError):
        columns_of(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "a.tsv")
