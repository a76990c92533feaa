"""Explanations as one HTML page that needs nothing else: no script, no request, light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfb2d.evaluation.page import style
from tfb2d.explain.terminal import DOWN, UP
from tfb2d.explain.views import View, strength

TEMPLATE = Path(__file__).with_name("explain.html")
TOP = 20  # n-grams listed of a row


def render(
    title: str,
    rows: Sequence[tuple[View, Mapping[str, Any]]],
    table: Mapping[str, Any] | None = None,
    lead: str = "",
) -> str:
    """The page; whatever comes from data is escaped.

    Args:
      title: in the page's head.
      rows: each with what stands beside it: `facts`, a list of (name, value), and `why`, a sentence.
      table: `titles` and `rows` of cells, above the rows.
      lead: a sentence under the title.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        title=title, lead=lead, style=style(), table=table, rows=[_row(view, beside) for view, beside in rows]
    )
    return page.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8


def _row(view: View, beside: Mapping[str, Any]) -> dict[str, Any]:
    shares = strength([value for _, tokens in view.fields for _, value in tokens])
    grounds = iter(shares)
    fields = [
        (name, [{"text": text, "value": f"{value:+.3f}", "ground": _ground(next(grounds))} for text, value in tokens])
        for name, tokens in view.fields
    ]
    lists = []
    for title, parts in (("n-grams", view.parts), ("soft matches", view.soft)):
        if parts:
            most = max(abs(part.value) for part in parts) or 1.0
            shown = [
                {
                    "text": part.text,
                    "value": f"{part.value:+.3f}",
                    "about": part.about,
                    "width": f"{50 * abs(part.value) / most:.1f}",
                    "up": part.value >= 0,
                }
                for part in parts[:TOP]
            ]
            rest = parts[TOP:]
            lists.append((title, shown, len(rest), f"{sum(part.value for part in rest):+.3f}"))
    return {
        "view": view,
        "fields": fields,
        "lists": lists,
        "facts": beside.get("facts", []),
        "why": beside.get("why", ""),
    }


def _ground(share: float) -> str:
    red, green, blue = UP if share > 0 else DOWN
    return f"rgba({red},{green},{blue},{0.75 * abs(share):.3f})"
