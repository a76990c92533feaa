"""The five modes of `tfb2d bench`, each a module with its own flags; scoring.py is the first."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfb2d.cli.arguments import Parser

MODES = {
    "serving": "tfb2d.bench.serving",
    "tflite": "tfb2d.bench.edge",
    "profile": "tfb2d.bench.profile",
    "teacher": "tfb2d.bench.teacher",
}
SCORING = "tfb2d.bench.scoring"


def mode(words: Sequence[str]) -> str:
    """Returns the name of the module of the mode that a command line chooses; the last flag counts."""
    chosen = SCORING
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in MODES and value.lower() not in ("false", "0", "no"):
            chosen = MODES[name]
    return chosen


def mode_of(words: Sequence[str]) -> Any:
    """Returns the mode's module, imported; it has `add_arguments` and `run`, as a command does."""
    return importlib.import_module(mode(words))


def add_modes(parser: "Parser") -> None:
    """Adds the flags that choose a mode."""
    modes = parser.group("modes")
    modes.switch("serving", "Measure a server and its clients; --serving --help has its flags.")
    modes.switch("profile", "Measure the ops of a student; --profile --help has its flags.")
    modes.switch("tflite", "Measure the edge form; --tflite --help has its flags.")
    modes.switch("teacher", "Measure how fast a teacher labels; --teacher --help has its flags.")
