"""TSV that was written with CSV quoting, and TSV that was not: which is which, and what is said where it is neither."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.config import ConfigError, DataConfig
from tfb2d.data.prepare import prepare
from tfb2d.data.readers import columns_of, read_rows
from tfb2d.data.tables import read_table
from tfb2d.errors import DataError

PLAIN, QUOTED = "tab-separated, no quoting", "tab-separated, CSV quoting"
TEXTS = ['a 12" wok, good heat', "plain title", 'said "fine" twice', "two\nlines", "tab\there", "an 8' rug"]
ONE_LINE = [text for text in TEXTS if not set(text) & set("\t\n")]


def tsv(rows, style: int | None = csv.QUOTE_MINIMAL, **options) -> str:
    """Rows as a TSV file: written by a CSV writer, or plainly."""
    if style is None:
        return "".join("\t".join(row) + "\n" for row in rows)
    out = io.StringIO()
    csv.writer(out, delimiter="\t", quoting=style, lineterminator="\n", **options).writerows(rows)
    return out.getvalue()


def read(path: Path, content: str, columns=("text",), **options) -> tuple[list[str], str]:
    """Reads the first column of a file, and how it was read."""
    path.write_bytes(content.encode())
    dialects: dict[str, str] = {}
    rows = list(read_rows(path, columns, dialects=dialects, **options))
    assert not [row for row in rows if row.problem]
    assert columns_of(path, **options) == content.splitlines()[0].replace('"', "").split("\t")
    return [row.values[0] for row in rows], dialects[str(path)]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.tsv"


def test_the_same_texts_written_both_ways(path):
    rows = [("text", "shop"), *((text, "x") for text in TEXTS)]
    assert read(path, tsv(rows)) == (TEXTS, QUOTED)
    assert read(path, tsv(rows, csv.QUOTE_ALL)) == (TEXTS, QUOTED)
    rows = [("text", "shop"), *((text, "x") for text in ONE_LINE)]
    assert read(path, tsv(rows)) == (ONE_LINE, QUOTED)
    assert read(path, tsv(rows, None)) == (ONE_LINE, PLAIN)


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[3], TEXTS[4]])
@pytest.mark.parametrize("before", [0, 40_000])
def test_one_quoted_field_is_enough_wherever_it_stands(path, text, before):
    rows = [("text", "shop"), *[("some plain title", "x")] * before, (text, "y"), ("z", "x")]
    texts, dialect = read(path, tsv(rows))
    assert (texts[-2:], dialect) == ([text, "z"], QUOTED)


@pytest.mark.parametrize(
    "texts",
    [
        ['"Great film" they said', "b"],
        ['"half inch clamp', "b", 'six 6"', "c"],
        ['"half inch', 'six 6"'],
        ['"Quoted as a whole"', "b"],
        ['"a', '"b', 'c"'],
        ['""', '"', "x"],
    ],
)
@pytest.mark.parametrize("width", [1, 2, 3])
def test_plain_files_with_quotes_stay_plain(path, texts, width):
    if width == 1 and texts[0] in ('""', '"half inch', '"half inch clamp'):
        return  # in a single column this is how an empty text, or one with line breaks, is written
    names, others = ("text", "shop", "id")[:width], ("x", "1")[: width - 1]
    assert read(path, tsv([names, *((text, *others) for text in texts)], None)) == (texts, PLAIN)


def test_single_columns(path):
    assert read(path, 'text\na\n"b ""c"""\n"d\te"\n') == (["a", 'b "c"', "d\te"], QUOTED)
    assert read(path, '"text"\n"a"\n"two\nlines"\n') == (["a", "two\nlines"], QUOTED)
    assert read(path, 'text\na\n""\n') == (["a", ""], QUOTED)
    assert read(path, 'text\n"two\nlines"\n') == (["two\nlines"], QUOTED)
    for last in ('he said "no"', '"No," he said', '"no'):
        assert read(path, f'text\n"He came,\nshe went"\n{last}\n') == (['"He came,', 'she went"', last], PLAIN)


@pytest.mark.parametrize("content", ["text\n\na\n  \n\r\nb\n\n", "text\r\n\r\na\r\n  \r\n\r\nb\r\n\r\n"])
@pytest.mark.parametrize("options", [{}, {"quoting": "csv"}, {"quoting": "none"}])
def test_blank_lines_of_a_single_column_are_those_of_csv(path, content, options):
    assert read(path, content, **options)[0] == ["a", "  ", "b"]
    assert [row.number for row in read_rows(path, ("text",), **options)] == [3, 4, 6]
    other = path.with_suffix(".csv")
    other.write_bytes(path.read_bytes())
    assert list(read_rows(other, ("text",), **options)) == list(read_rows(path, ("text",), **options))


def test_neither_clearly_one_nor_the_other(path):
    path.write_text('text\tshop\na\tx\n"a ""b"""\tx\n"c" d\tx\n')
    message = r"a\.tsv: from line 3 on, .* data\.quoting=csv or data\.quoting=none \(of commands: --quoting=\)"
    with pytest.raises(DataError, match=message):
        list(read_rows(path, ("text",)))
    assert [row.values for row in read_rows(path, ("text",), quoting="none")] == [("a",), ('"a ""b"""',), ('"c" d',)]
    rows = list(read_rows(path, ("text",), quoting="csv"))
    assert [row.values for row in rows if not row.problem] == [("a",), ('a "b"',)]
    assert rows[2].problem.reason.startswith("not CSV")


def test_quotes_behind_backslashes(path):
    """Reads files as Spark's and R's writers make them, with and without quotes around the header's names."""
    rows = [
        ("text", "shop"),
        ('a 12" wok', "x"),
        ("plain title", "y"),
        ('"fine" twice', "x"),
        ("C:\\dir", "x"),
        ("a\nb", "z"),
    ]
    lines = ["\t".join(f'"{value}"'.replace('"', '\\"')[1:-2] + '"' for value in row) for row in rows[1:]]
    content = "text\tshop\n" + "\n".join(lines) + "\n"
    assert '"a 12\\" wok"\t"x"' in content
    path.write_text(content)
    with pytest.raises(
        DataError, match=r"a\.tsv: from line 2 on, .* as Spark and R write them: set data\.quoting=backslash"
    ):
        list(read_rows(path, ("text",)))
    assert read(path, content, quoting="backslash") == (
        [text for text, _ in rows[1:]],
        "tab-separated, quotes with backslashes",
    )
    path.write_text('"text"\t"shop"\n' + content.split("\n", 1)[1])
    problems = [row.problem.reason for row in read_rows(path, ("text",)) if row.problem]
    assert len(problems) == 2
    assert all("set quoting to backslash" in problem for problem in problems)
    assert [row.values[0] for row in read_rows(path, ("text",), quoting="backslash")] == [text for text, _ in rows[1:]]


def test_a_file_that_turns_out_to_be_quoted_after_plain_reading(path, monkeypatch):
    monkeypatch.setattr("tfb2d.data.delimited.SAMPLE", 50)
    path.write_text('text\tshop\n"whole"\tx\n' + "plain text\ty\n" * 10 + '"a ""b"""\tx\n')
    with pytest.raises(DataError, match=r"a\.tsv: from line 13 on"):
        list(read_rows(path, ("text",)))
    path.write_text('text\tshop\n"whole"\tx\n' + "plain text\ty\n" * 10 + '"a" b, c, d, e\tx\n"c ""d"""\tx\n')
    monkeypatch.setattr("tfb2d.data.delimited.SAMPLE", 10)
    assert read(path, path.read_text())[1] == PLAIN  # the line before has settled it


pieces = st.lists(st.sampled_from(["a", "b", " ", '"', "'", "12"]), max_size=6).map("".join)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(pieces, st.sampled_from(["", "\t", "\n", "\n\n"]), pieces).map("".join), min_size=1, max_size=8)
)
def test_what_a_csv_writer_writes_is_read(tmp_path_factory, texts):
    rows = [("text", "shop"), *((text, "x") for text in texts)]
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    path.write_text(tsv(rows), newline="")
    assert [row.values for row in read_rows(path, ("text", "shop"))] == rows[1:]


def test_the_data_stage_says_how_files_were_read(tmp_path):
    labelled = [("text", "label"), *((f'the {i}" pan\nof {i}', str(i % 2)) for i in range(200))]
    (tmp_path / "a.tsv").write_text(tsv(labelled), newline="")
    (tmp_path / "b.csv").write_text("text\nsome text\n")
    data = DataConfig(train=(str(tmp_path / "a.tsv"),), unlabelled=(str(tmp_path / "b.csv"),))
    stats = prepare(data, tmp_path / "out", progress=False)
    assert stats["dialects"] == {
        str(tmp_path / "a.tsv"): QUOTED,
        str(tmp_path / "b.csv"): "comma-separated, CSV quoting",
    }
    assert (stats["rejected"], stats["train"] + stats["valid"] + stats["test"]) == (0, 200)
    texts = read_table(tmp_path / "out/test")["text"].to_pylist()
    assert all('" pan\nof ' in text for text in texts)


def test_the_setting_is_checked():
    with pytest.raises(ConfigError, match=r"data\.quoting is 'excel'; it takes auto, csv, backslash, none"):
        DataConfig(quoting="excel")
