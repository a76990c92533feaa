"""Draws pictures as SVG that sits inside a page and takes the page's colours, light or dark.

matplotlib draws with stand-in colours, which the style sheet's variables then replace. Text stays text. Users' texts are
never drawn, so no font lacks a glyph.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

INK, MUTED, LINE = "#010101", "#010102", "#010103"
COLOURS = {
    "teacher": "#010104",
    "student": "#010105",
    "labels_only": "#010106",
    "twin": "#010107",
}
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line"} | {value: name for name, value in COLOURS.items()}
DASHES: dict[str, Any] = {
    "teacher": (0, (5, 2)),
    "student": "solid",
    "labels_only": (0, (1, 1.5)),
    "twin": (0, (5, 2, 1, 2)),
}
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "tfb2d",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
}


def interval(axes: Any, at: float, ends: Sequence[float] | None, colour: str, *, across: bool = False) -> None:
    """Draws an interval as a bar at a position, upright or `across`; None draws nothing."""
    if ends is not None:
        both = [at, at]
        axes.plot(*((ends, both) if across else (both, ends)), color=colour, linewidth=2.1, alpha=0.5)


def svg_document(width: float, height: float, draw: Callable[[Any], None]) -> str:
    """Draws a figure by `draw`, sizes in inches; returns a whole SVG document with matplotlib's own colours."""
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "tfb2d", "font.size": 9, "text.parse_math": False}
    return _drawn(draw, width, height, style, metadata={"Date": None})


def _drawn(draw: Callable[[Any], None], width: float, height: float, style: dict[Any, Any], **options: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", **options)
    return out.getvalue()


def svg(name: str, draw: Callable[[Any], None], width: float, height: float) -> str:
    """Draws a figure of so many inches as an `<svg>` element of a page, without prologue, links, fonts and size.

    `draw` draws on a matplotlib figure. The ids of the elements begin with the picture's name.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = _drawn(draw, width, height, STYLE, transparent=True, metadata=nothing)
    text = text[text.index("<svg") :]
    for pattern, replacement in (
        (r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">'),
        (r"<(metadata|style).*?</\1>", ""),
        (r' id="[a-zA-Z][a-zA-Z.0-9]*_\d+"', ""),
        (r' id="', f' id="{name}-'),
        (r'xlink:href="#', f'href="#{name}-'),
        (r"url\(#", f"url(#{name}-"),
        (r"font-family: [^;\"]*;? ?", ""),
        (r"(\d\.\d\d)\d+", r"\1"),
        (r"\s+", " "),
    ):
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable.replace('_', '-')})")
    return text.strip()
