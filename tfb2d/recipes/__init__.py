"""Recipes: a file each, whose docstring gives the command, the time it takes and the figure to expect."""

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Returns the names of the recipes in this folder, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
