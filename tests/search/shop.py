"""A small catalogue and models that are made in a second, for the tests of search."""

from pathlib import Path
from typing import NamedTuple

TITLES = [
    f"{brand} {thing} {detail}"
    for brand in ("acme", "bolt", "corvo")
    for thing in ("usb-c cable", "running shoes", "rain jacket", "led desk lamp", "iphone x case")
    for detail in ("red", "blue", "5 m", "4k", "size 40")
]


class Models(NamedTuple):
    """Folders of exported models."""

    twin: Path
    other_twin: Path
    ranker: Path


def write_titles(path: Path, titles: dict[str, str]) -> Path:
    lines = ["id\ttitle", *(f"{key}\t{title}" for key, title in titles.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
