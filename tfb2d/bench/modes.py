"""The five modes of `tfb2d bench`, each a module with its own flags; scoring.py is the first."""

import importlib
from collections.abc import Sequence
from typing import Any

from tfb2d.cli.arguments import Group, Parser

MODES = {  # the module, and what it measures
    "serving": ("tfb2d.bench.serving", "a server and its clients"),
    "profile": ("tfb2d.bench.profile", "the ops of a student"),
    "tflite": ("tfb2d.bench.edge", "the edge form"),
    "teacher": ("tfb2d.bench.teacher", "how fast a teacher labels"),
}
SCORING = "tfb2d.bench.scoring"


def mode(words: Sequence[str]) -> str:
    """Returns the name of the module of the mode that a command line chooses; the last flag counts."""
    chosen = SCORING
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in MODES and value.lower() not in ("false", "0", "no"):
            chosen = MODES[name][0]
    return chosen


def mode_of(words: Sequence[str]) -> Any:
    """Returns the mode's module, imported; it has `add_arguments` and `run`, as a command does."""
    return importlib.import_module(mode(words))


def add_what(parser: Parser, model: str) -> Group:
    """Adds the flags that all modes but serving have: `model` says what is measured; it is on texts, into a folder."""
    what = parser.group("what is measured")
    what.flag("model", f"{model}; may be repeated.", repeated=True, required=True, metavar="[NAME=]DIR")
    what.flag("data", "A run's folder (its test split), or labelled files. [default: films]", repeated=True)
    what.flag("output", "The folder for results.", required=True, metavar="DIR")
    return what


def add_modes(parser: Parser) -> None:
    """Adds the flags that choose a mode."""
    modes = parser.group("modes")
    for name, (_, what) in MODES.items():
        modes.switch(name, f"Measure {what}; --{name} --help has its flags.")
