"""Stray quotes in CSV where the values, the commas or the columns of a file make joined rows look like a text."""

import csv
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.config import DataConfig
from tfb2d.data.checked_rows import read_checked_rows
from tfb2d.data.examples import read_examples
from tfb2d.data.readers import Reading, read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Row
from tfb2d.errors import DataError


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.csv"


def read(path: Path, header: str, lines: list[str], **options) -> list[Row]:
    """Reads a file of these lines; every line must be a row's, or rejected."""
    path.write_text("\n".join([header, *lines]) + "\n", newline="")
    rows = list(read_rows(path, header.split(","), **options))
    physical = path.read_bytes().split(b"\n")[1:-1]
    assert sum(row.lines for row in rows) == sum(bool(line) for line in physical)
    return rows


def rejected(rows: list[Row]) -> list[int]:
    """Returns the indices of the rejected lines, from 0."""
    return [row.number - 2 for row in rows if row.problem]


def with_quotes(lines: list[str], opened: int, closed: int) -> list[str]:
    """Puts a stray quote before a line's text, which is its last field or its first, and one at the end of another line."""
    lines = list(lines)
    head, _, tail = lines[opened].rpartition(",")
    at_end = head.isdecimal() or head[:2] == "20"
    lines[opened] = f'{head},"{tail}' if at_end else f'"{lines[opened]}'
    lines[closed] = f'{lines[closed]}"' if at_end else lines[closed].replace(",", '",', 1)
    return lines


FILES = {  # header, a row by its index
    "sorted by date": ("date,text", lambda i: f"20{10 + i // 3000}-{1 + i // 250:02},word{i} and more"),
    "sorted by label": ("text,label", lambda i: f"some text {i},{'neg' if i < 3100 else 'pos'}"),
    "ids that change": ("id,text", lambda i: f"{i if i < 2000 else f'A{i}'},text {i}"),
    "one comment in 50": ("text,comment", lambda i: f"film {i},{'' if i % 50 else 'good'}"),
    "last column empty": ("text,comment", lambda i: f"film {i},"),
    "numbers of three digits": ("text,price", lambda i: f"screw {i},{100 + i % 900}"),
    "a blank after the comma": ("text, label", lambda i: f"film {i}, good"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("opened", "closed", "count"), [(0, 199, 300), (2, 199, 200), (3000, 3300, 3310), (50, 70, 90)]
)
def test_a_stray_quote_costs_two_lines_at_most(path, kind, opened, closed, count):
    header, row = FILES[kind]
    lines = with_quotes([row(i) for i in range(count)], opened, closed)
    rows = read(path, header, lines)
    assert len(rows) == count
    assert opened in rejected(rows)
    assert set(rejected(rows)) <= {opened, closed}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("between", [2, 5, 8])
def test_a_few_rows_that_a_quote_would_join(path, kind, between):
    header, row = FILES[kind]
    lines = with_quotes([row(i) for i in range(3400)], 3095, 3096 + between)
    rows = read(path, header, lines)
    assert len(rows) == 3400
    assert set(rejected(rows)) <= {3095, 3096 + between}


def test_a_single_column_says_what_was_joined(path, caplog):
    lines = [f"film {i}" for i in range(300)]
    for i in range(0, 300, 12):
        lines[i], lines[i + 6] = f'"{lines[i]}', f'{lines[i + 6]}"'
    with caplog.at_level(logging.WARNING):
        rows = read(path, "text", lines)
    assert len(rows) == 150
    assert "25 records of several lines, 175 in all, the first from line 2 on" in caplog.text


@pytest.mark.parametrize("odd", ["film, of a kind", ""])
def test_a_comma_or_blank_line_does_not_hide_joined_rows(path, odd):
    lines = ['"film', *(odd if i == 7 else f"film {i}" for i in range(60)), 'film"', "film"]
    rows = read(path, "text", lines)
    assert rejected(rows) == ([0, 8] if odd else [0])


def texts_of(path: Path, rows: list[tuple]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    path.write_text(out.getvalue(), newline="")


MAILS = [("text", "label"), *(("Hello\n" + "a,b\n" * 20 + "Bye", "good") for _ in range(100))]


@pytest.mark.parametrize("header", ['text,label,"size', '"text,label,size', 'text,label,"'])
@pytest.mark.parametrize("closed", [0, 1, 5, 50])
def test_a_stray_quote_in_the_header_swallows_no_rows(path, header, closed):
    lines = [f"film {i},1,x" for i in range(100)]
    lines[closed] = f'{lines[closed]}"' if header.startswith("text,label") else lines[closed].replace(",", '",', 1)
    path.write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(DataError, match=rf"in the header, line 1, would join it to the rows up to line {closed + 2};"):
        list(read_rows(path, ("text",)))


@pytest.mark.parametrize("name", ["size\n(cm)", "size\n\nin cm,\nas sold", "size\n(cm, or\n1,000 mm)\n"])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_name_with_line_breaks_is_read(path, caplog, name, before):
    names = ["text", "label"]
    names.insert(before, name)
    texts_of(path, [tuple(names), *((f"film {i}", "1", "x") for i in range(30))])
    with caplog.at_level(logging.INFO):
        assert len(list(read_rows(path, (name,)))) == 30
    assert f"1 record of several lines, {name.count(chr(10)) + 1} in all, the first from line 1 on" in caplog.text


def test_trusted_quotes_hold_any_lines(path, caplog):
    texts_of(path, MAILS)
    with caplog.at_level(logging.INFO):
        rows = list(read_rows(path, MAILS[0], quoting="csv"))
    assert [row.values for row in rows] == MAILS[1:]
    assert "100 records of several lines, 2,200 in all" in caplog.text
    caplog.clear()
    assert not any(row.lines > 1 for row in read_rows(path, MAILS[0]))
    assert "if the quotes belong there, set data.quoting=csv" in caplog.text


@pytest.mark.parametrize("quoting", ["auto", "csv"])
def test_what_is_longer_than_the_longest_text_is_undone(path, quoting):
    lines = ['"film,', *(f"a line of a text {i}" for i in range(100)), 'film",good', "film,good"]
    assert [row.lines for row in read(path, "text,label", lines, quoting=quoting)] == [102, 1]
    rows = read(path, "text,label", lines, quoting=quoting, max_chars=500)
    assert [row.lines for row in rows] == [1] * 103
    assert "longer than data.max_chars=500" in rows[0].problem.reason
    assert rows[-1].values == ("film", "good")


def test_a_rejected_record_counts_its_lines(path, tmp_path):
    text = "\n".join(f"line {i}" for i in range(30))
    texts_of(path, [("text", "label"), *((f"film {i}", "1") for i in range(500)), (text, "none"), (text, "1")])
    listed = tmp_path / "rejected.jsonl"
    with Rejects(listed, 0.05) as rejects, pytest.raises(DataError, match=r"30 of 560 lines cannot be used"):
        list(read_examples([path], DataConfig(), labelled=True, rejects=rejects))
    assert json.loads(listed.read_text())["lines"] == 30
    with Rejects(None, 0.05) as rejects:
        rejects.begin()
        rows = list(read_checked_rows(path, ("text",), rejects, numbers=("label",)))
        assert sum(row.lines for row in rows) + rejects.count == 560
        with pytest.raises(DataError, match=r"30 of 560 lines cannot be used"):
            rejects.check(len(rows) + rejects.count)


def test_backslashes_may_be_escaped_themselves(path):
    lines = [r'"C:\\","x"', r'"say \"a\\\" now","y"', r'"C:\dir","z"']
    rows = read(path, "text,label", lines, quoting="backslash")
    assert [row.values for row in rows] == [("C:\\", "x"), ('say "a\\" now', "y"), ("C:\\dir", "z")]


def test_a_carriage_return_is_named(path):
    rows = read(path, "text,label", ["a\rb,c", "d,e"])
    assert rejected(rows) == [0]
    assert rows[0].problem.reason.startswith("a carriage return within the line: convert the file's line ends")


def test_tsv_whose_every_field_is_quoted(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tshop\tid\n" + "".join(f'"film {i}"\t"x"\t{i}\n' for i in range(200)))
    assert next(read_rows(path, ("text",))).values == ("film 0",)
    path.write_text("text\tshop\n" + '"film"\t"x"\n' * 200 + "film\tx\n")
    assert next(read_rows(path, ("text",))).values == ('"film"',)


value = st.sampled_from(["", "neg", "good film", "7", "2024-05-01", "A12", " x", "1,5"])


@settings(max_examples=40)
@given(st.data())
def test_lines_of_rows_and_rejected_lines_are_all_lines(tmp_path_factory, data):
    """Checks any lines in any mode, with a limit of characters or without."""
    line = st.lists(st.tuples(st.sampled_from(["", "", '"']), value, st.sampled_from(["", "", '"'])).map("".join)).map(
        ",".join
    )
    lines = data.draw(st.lists(line.filter(bool), min_size=1, max_size=40))
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    rejects = Rejects(None, 1.0)
    rejects.begin()
    quoting, max_chars = data.draw(st.sampled_from(["auto", "csv"])), data.draw(st.sampled_from([10, 1000]))
    reading = Reading(max_chars=max_chars, quoting=quoting)
    rows = list(read_checked_rows(path, ("text",), rejects, others=("label",), reading=reading))
    assert sum(row.lines for row in rows) + rejects.count == len(lines)
