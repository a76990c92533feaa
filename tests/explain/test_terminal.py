"""Colours as the terminal has them, and texts that cannot speak to it."""

import io

import pytest

from tfb2d.cli.terminal import printable
from tfb2d.explain.terminal import bar, colours, shade


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "expected", "level"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "auto", "24bit"),
        ({"TERM": "xterm-256color"}, "auto", "256"),
        ({"TERM": "xterm"}, "auto", "16"),
        ({"TERM": "dumb"}, "auto", "none"),
        ({}, "auto", "none"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "auto", "none"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "always", "16"),
        ({"TERM": "xterm-256color"}, "never", "none"),
    ],
)
def test_as_many_colours_as_there_are(environment: dict, expected: str, level: str) -> None:
    assert colours(Terminal(), environment, expected) == level


def test_a_pipe_gets_plain_text() -> None:
    assert colours(io.StringIO(), {"TERM": "xterm", "COLORTERM": "truecolor"}) == "none"
    assert shade("word", 1.0, "none") == "word"


@pytest.mark.parametrize("level", ["16", "256", "24bit"])
def test_what_adds_and_what_takes_away_look_different(level: str) -> None:
    up, down = shade("word", 0.9, level), shade("word", -0.9, level)
    assert up != down
    assert up.endswith("word\x1b[0m")
    assert shade("word", 0.0, level) == "word"


def test_bars_and_controls() -> None:
    assert bar(-1, 2, "none", 4) == "  ██│    "
    assert bar(2, 2, "none", 4) == "    │████"
    assert printable("a\x1b[31m\n\ud800") == "a\\x1b[31m\\n\\ud800"
