"""Explanations as a page: a table of rows, and for each row what adds to its logit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfb2d.explain.terminal import DOWN, UP
from tfb2d.explain.views import View
from tfb2d.report.page import render as render_page
from tfb2d.report.page import table_row

TEMPLATE = Path(__file__).with_name("explain.html")
TOP = 20  # n-grams that are listed for a row


def render(
    title: str, rows: Sequence[tuple[View, Mapping[str, Any]]], table: Sequence[Sequence[str]] = (), lead: str = ""
) -> str:
    """Returns the page; whatever comes from data is escaped.

    Each row has `facts`, a list of (name, value), and `why`, a sentence, beside it. Above the rows are `lead`, a
    sentence, and `table`, a row of titles and rows of cells; () for none.
    """
    shown = table and {
        "titles": table[0],
        "rows": [table_row([(cell, "") for cell in cells]) for cells in table[1:]],
    }
    return render_page(
        TEMPLATE, title=title, lead=lead, table=shown, rows=[_row(view, beside) for view, beside in rows]
    )


def _row(view: View, beside: Mapping[str, Any]) -> dict[str, Any]:
    most = view.largest()
    fields = [
        (name, [{"text": text, "value": f"{value:+.3f}", "ground": _ground(value / most)} for text, value in tokens])
        for name, tokens in view.fields
    ]
    lists = []
    for title, parts in (("n-grams", view.parts), ("soft matches", view.soft)):
        if parts:
            longest = max(abs(part.value) for part in parts) or 1.0
            shown = [(part, f"{50 * abs(part.value) / longest:.1f}") for part in parts[:TOP]]
            hidden = parts[TOP:]
            lists.append((title, shown, len(hidden), f"{sum(part.value for part in hidden):+.3f}"))
    facts, why = beside.get("facts", []), beside.get("why", "")
    return {"view": view, "fields": fields, "lists": lists, "facts": facts, "why": why}


def _ground(share: float) -> str:
    red, green, blue = UP if share > 0 else DOWN
    return f"rgba({red},{green},{blue},{0.75 * abs(share):.3f})"
