"""A page as one HTML file without scripts or requests, for light and dark, wide and narrow screens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent  # base.html, parts.html and style.css, which the pages' own templates name
EXCERPT = 400  # characters of a text that an example shows


@dataclass(frozen=True)
class Picture:
    """Holds SVG pictures of a page with their title, caption and legend."""

    title: str
    svgs: Sequence[str]
    alt: str  # a description for those who cannot see it
    caption: str = ""
    legend: Sequence[tuple[str, str]] = ()  # (model's key, its name)


def render(template: Path, **values: Any) -> str:
    """Returns the page of a template, a file that extends `base.html`; texts among its values are escaped.

    It may include templates of this package and of its own folder. A value that is missing is a jinja2.TemplateError.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([FOLDER, template.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template.name).render(**values)
    return page.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8


def card(title: str, value: str, note: str) -> dict[str, str]:
    """Returns a card: a figure that matters, its title and a line of explanation."""
    return {"title": title, "value": value, "note": note}


def table_row(cells: Sequence[tuple[str, str]], key: str = "") -> dict[str, Any]:
    """Returns a row of (figure, small print below it), the title first; `key` is the model's, for its colour."""
    return {"key": key, "cells": cells}


def excerpt(text: str) -> str:
    """Returns the first `EXCERPT` characters of a text."""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + " …"
