"""Quotes in CSV: those that belong there are read, and a stray one costs its own line alone."""

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.data.joined_rows import MAX_PLAIN_LINES
from tfb2d.data.quoted import MAX_RECORD_LINES, NEVER_CLOSED, STRAY
from tfb2d.data.readers import read_rows
from tfb2d.data.rows import Row
from tfb2d.errors import DataError

NAMES = ("text", "shop", "grade", "id")
word = st.text("abc 6é", min_size=1, max_size=4).map(lambda text: text.strip(" ") or "a")


def rows_of(path: Path, content: str, columns=NAMES[:2]) -> list[Row]:
    path.write_bytes(content.encode())
    return list(read_rows(path, columns))


def values(rows: list[Row]) -> list[tuple]:
    return [row.values for row in rows if not row.problem]


def reasons(rows: list[Row]) -> list[tuple[int, str]]:
    return [(row.number, row.problem.reason) for row in rows if row.problem]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.csv"


def stock(first: int, last: int) -> list[str]:
    """Rows of three fields."""
    return [f"{i},clamp {i},west" for i in range(first, last)]


@pytest.mark.parametrize(
    "opening", ['3,"half inch clamp,west', '3,"half inch", clamp,west"', '"3,half inch clamp,west']
)
@pytest.mark.parametrize("closing", ['699,hose 6",west', '699,a 6","west', '699,say ""6""",west', None])
def test_a_stray_quote_costs_its_line_alone(path, opening, closing):
    lines = [*stock(1, 3), opening, *stock(4, 699), closing or "699,hose,west", *stock(700, 1000)]
    rows = rows_of(path, "id,text,shop\n" + "\n".join(lines) + "\n", ("id", "text", "shop"))
    assert [row.number for row in rows] == list(range(2, 1001))
    assert all(row.lines == 1 for row in rows)
    rejected = {number for number, _ in reasons(rows)}
    assert 4 in rejected or opening.count('"') > 1
    assert rejected <= {4, 700}
    kept = [",".join(row) for row in values(rows) if row[0] not in ("3", "699", "3,half inch clamp,west")]
    assert kept == [*stock(1, 3), *stock(4, 699), *stock(700, 1000)]


def test_the_line_that_closes_by_chance_is_read(path):
    rows = rows_of(path, 'text,shop\n"half inch,north\nhose,south\nhose 6",east\n')
    assert values(rows) == [("hose", "south"), ('hose 6"', "east")]
    assert reasons(rows) == [(2, STRAY)]


def test_a_whole_file_between_two_quotes(path):
    lines = ['"half inch clamp', *(f"clamp {i}" for i in range(56)), 'hose 6"']
    rows = rows_of(path, "text\n" + "\n".join(lines), ("text",))
    assert len(values(rows)) == 57
    assert reasons(rows) == [(2, STRAY)]


def test_where_all_fields_are_quoted_a_line_without_quotes_is_no_row(path):
    rows = [("text", "shop"), ("a", "b"), ("", "\n,0"), ("\nc,d\ne,f", "x")]
    assert values(rows_of(path, written(rows, csv.QUOTE_ALL))) == rows[1:]


def test_values_of_the_first_rows_tell_lines_of_a_text_from_rows(path):
    before = [(f"some text {i}", "yes" if i % 3 else "no", str(i)) for i in range(30)]
    prose = "It was good,honest,plain\nand so,on,and on"
    rows = [NAMES[:3], *before, (prose, "no", "7"), *before]
    assert values(rows_of(path, written(rows), NAMES[:3])) == rows[1:]
    joined = [*(",".join(row) for row in before), '"half inch,yes,1', "hose,no,2", 'hose 6",no,3']
    rows = rows_of(path, "text,shop,grade\n" + "\n".join(joined), NAMES[:3])
    assert reasons(rows) == [(32, STRAY)]
    assert values(rows)[30:] == [("hose", "no", "2"), ('hose 6"', "no", "3")]


def test_a_single_column_whose_texts_are_long(path):
    rows = [("text",), *[("\n".join(f"line {i}" for i in range(length)),) for length in (3, 5, 4, 60, 1, 30)]]
    assert values(rows_of(path, written(rows), ("text",))) == rows[1:]


def test_a_record_that_does_not_fit_is_undone(path):
    rows = rows_of(path, 'text,shop\na,1\n"two\nlines"\nb,"x\ny",z\nc,2\n')
    assert values(rows) == [("a", "1"), ('y"', "z"), ("c", "2")]
    assert [number for number, _ in reasons(rows)] == [3, 4, 5]


def test_a_record_of_too_many_lines_is_undone(path):
    rows = rows_of(path, 'text,shop\n"a\n' + "b\n" * MAX_RECORD_LINES + 'c",1\nd,2\n')
    assert values(rows) == [('c"', "1"), ("d", "2")]
    assert reasons(rows)[0] == (2, NEVER_CLOSED)
    assert len(rows) == MAX_RECORD_LINES + 3
    rows = rows_of(path, 'text,shop\n"a\n' + "b\n" * (MAX_RECORD_LINES - 2) + 'c",1\nd,2\n')
    assert [(row.number, row.lines) for row in rows] == [(2, MAX_RECORD_LINES), (MAX_RECORD_LINES + 2, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "Roses are red,\nviolets are blue,\nsugar is sweet.",
        "It costs\n1,000 francs\nor 2,000.",
        "well, this\nis, all in all,\nfine",
        "a list:\n\n- one\n- two\n\n- three",
        'he said "no, never,"\nand "go"',
        "tab\there\nand\tthere",
        "\n",
        "a\r\nb\rc",
    ],
)
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_texts_with_line_breaks_are_read(path, text, index, width, quoting):
    if index >= width:
        return
    plain = [str(i) for i in range(width)]
    row = [*plain[:index], text, *plain[index + 1 :]]
    rows = rows_of(path, written([NAMES[:width], plain, row, plain, row], quoting), NAMES[:width])
    assert values(rows) == [tuple(plain), tuple(row), tuple(plain), tuple(row)]


def written(rows, quoting=csv.QUOTE_MINIMAL) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=quoting).writerows(rows)
    return out.getvalue()


# Without lines that all end in a comma: at a file's head they cannot be told from rows whose last column is empty.
prose = st.lists(st.tuples(word, st.sampled_from([" ", ", ", ". ", ',"', '" ', "\n", "\n\n"])), max_size=8).map(
    lambda parts: "".join(map("".join, parts)).replace(',"', ' "')
)


@settings(max_examples=30)
@given(data=st.data())
def test_prose_with_line_breaks_is_read(tmp_path_factory, data):
    width = data.draw(st.integers(2, 4))
    index = data.draw(st.integers(0, width - 1))
    texts = data.draw(st.lists(prose, min_size=1, max_size=5))
    rows = [tuple(text if at == index else f"v{at}" for at in range(width)) for text in texts]
    path = tmp_path_factory.mktemp("prose") / "a.csv"
    read = rows_of(path, written([NAMES[:width], *rows], data.draw(st.sampled_from([0, 1]))), NAMES[:width])
    assert values(read) == rows
    assert not reasons(read)


@settings(max_examples=50)
@given(data=st.data())
def test_rows_and_rejected_lines_are_all_lines(tmp_path_factory, data):
    """Rows of one line each, in which quotes stand anywhere at the ends of fields, and lines that are blank or ragged."""
    width = data.draw(st.integers(2, 4))
    quoted = st.tuples(st.sampled_from(["", "", "", '"']), word, st.sampled_from(["", "", "", '"'])).map("".join)
    row = st.lists(quoted, min_size=width, max_size=width).map(",".join).filter(lambda line: line.count('"') < 2)
    lines = data.draw(st.lists(row, min_size=1, max_size=30))
    blanks = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    content = end.join(
        [",".join(NAMES[:width]), *(line + end * blank for line, blank in zip(lines, blanks, strict=True))]
    )
    rows = rows_of(tmp_path_factory.mktemp("stray") / "a.csv", content, NAMES[:width])
    assert len(rows) == len(lines)
    assert all(row.lines == 1 for row in rows)
    numbers = [number for number, line in enumerate(content.split("\n"), 1) if line.strip()][1:]
    assert [row.number for row in rows] == numbers
    assert len(reasons(rows)) <= sum('"' in line for line in lines)


@settings(max_examples=50)
@given(
    st.text('a,"\n 1\\\r', max_size=60),
    st.integers(1, 3),
    st.sampled_from(["a.csv", "a.tsv"]),
    st.sampled_from(["auto", "csv", "backslash", "none"]),
)
def test_every_line_is_accounted_for(tmp_path_factory, body, width, name, quoting):
    """Checks for any bytes: each line that is not blank belongs to a row, kept or rejected, and rows keep their order."""
    separator = "," if name == "a.csv" else "\t"
    content = separator.join(NAMES[:width]) + "\n" + body.replace(",", separator)
    path = tmp_path_factory.mktemp("any") / name
    path.write_text(content, newline="")
    covered: list[int] = []
    try:
        for row in read_rows(path, NAMES[:width], quoting=quoting):
            covered += range(row.number, row.number + row.lines)
    except DataError:  # of a TSV file that is neither clearly quoted nor clearly plain
        if quoting != "auto" or name == "a.csv":
            raise
        return
    lines = content.split("\n")
    assert covered == sorted(set(covered))
    assert set(range(2, len(lines) + 1)) - set(covered) <= {
        at for at, line in enumerate(lines, 1) if not line.strip("\r")
    }


def test_a_single_column_is_undone_where_a_record_has_many_plain_lines(path):
    few = "text\n" + '"a\n' + "b\n" * (MAX_PLAIN_LINES - 2) + 'c"\n'
    assert [row.lines for row in rows_of(path, few, ("text",))] == [MAX_PLAIN_LINES]
    rows = rows_of(path, few.replace("b\n", "b\nb\n", 1), ("text",))
    assert [row.lines for row in rows] == [1] * (MAX_PLAIN_LINES + 1)
    assert reasons(rows) == [(2, STRAY)]
    assert [row.lines for row in rows_of(path, few.replace("b\n", "b\n\n", 1), ("text",))] == [MAX_PLAIN_LINES + 1]


def test_memory_and_time_stay_bounded(path, monkeypatch):
    """Quotes that are never closed, one after the other, on 6 MB, of which a quarter of a megabyte may be held."""
    monkeypatch.setattr("tfb2d.data.quoted.MAX_RECORD", 2**18)
    block = 'a,"' + "x" * 80 + "\n" + ("y" * 990 + ",1\n") * 3_000
    path.write_text("text,shop\n" + block * 2)
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path, ("text", "shop")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2 * 3_001
    assert peak < 5 * 2**20
