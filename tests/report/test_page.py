"""The parts that all pages share."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

import tfb2d
from tfb2d.report.page import EXCERPT, Picture, excerpt, render, table_row
from tfb2d.report.pictures import interval, svg

PACKAGE = Path(tfb2d.__file__).parent
PAGES = sorted(set(PACKAGE.rglob("*.html")) - set((PACKAGE / "report").iterdir()))
NASTY = '<script>alert(1)</script> & "quoted" {{ 7 * 7 }}'


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "own.html"
    file.write_text(
        '{% extends "base.html" %}{% import "parts.html" as parts %}{% block title %}{{ name }}{% endblock %}'
        "{% block content %}{{ parts.cards(cards) }}{{ parts.table(table, name) }}{{ parts.pictures(pictures) }}"
        "{{ parts.examples(examples) }}{{ parts.pairs(pairs) }}{{ parts.command(name) }}{% endblock %}"
    )
    return file


VALUES = {
    "name": NASTY,
    "cards": [{"title": NASTY, "value": "1", "note": NASTY}],
    "table": {"titles": ["model", NASTY], "rows": [table_row([(NASTY, ""), ("0.5", NASTY)], "teacher")]},
    "pictures": [Picture(NASTY, ["<svg></svg>"], NASTY, NASTY, [("teacher", NASTY)])],
    "examples": [{"texts": [("text", NASTY)], "scores": [{"key": "student", "share": 0.25, "text": NASTY}]}],
    "pairs": [(NASTY, NASTY)],
}


def test_every_part_escapes_what_comes_from_data(template: Path) -> None:
    page = render(template, **VALUES)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 16
    assert "{{ 7 * 7 }}" in page
    assert "<svg></svg>" in page
    assert "width: 25.0%" in page
    assert re.search(r'<tr class="teacher"><th scope="row"|<tr class="teacher">\s*<th scope="row"', page)


def test_a_page_needs_nothing_else_and_holds_the_style(template: Path) -> None:
    page = render(template, **VALUES)
    assert "default-src 'none'" in page
    assert (PACKAGE / "report/style.css").read_text().strip() in page
    assert not re.search(r"https?:|@import|url\(|<link|<img", page)


def test_a_value_that_is_missing_is_an_error_and_a_lone_surrogate_is_none(template: Path) -> None:
    with pytest.raises(UndefinedError, match="cards"):
        render(template, name="a")
    assert "a?b" in render(template, **VALUES | {"name": "a\ud800b"})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_all_pages_stand_on_the_one_template(page: Path) -> None:
    source = page.read_text()
    assert source.startswith('{% extends "base.html" %}')
    assert "<table" not in source
    assert "<figure" not in source


def test_all_pages_are_tried() -> None:
    assert sorted(page.stem for page in PAGES) == ["api", "explain", "monitor", "page", "report", "sweep"]


def test_long_texts_are_cut() -> None:
    assert excerpt("a" * EXCERPT) == "a" * EXCERPT
    assert excerpt("a" * (EXCERPT + 1)) == "a" * EXCERPT + " …"


def test_intervals_and_the_colours_of_the_page() -> None:
    axes = Figure().add_subplot()
    interval(axes, 2.0, None, "#000000")
    assert not axes.lines
    interval(axes, 2.0, [0.1, 0.3], "#000000")
    interval(axes, 2.0, [0.1, 0.3], "#000000", across=True)
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[2, 0.1], [2, 0.3]], [[0.1, 2], [0.3, 2]]]
    drawn = svg("x", lambda figure: figure.add_subplot(xlabel="rows"), 2, 2)
    assert drawn.startswith("<svg viewBox")
    assert "var(--muted)" in drawn
    assert "#0101" not in drawn
