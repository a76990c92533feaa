"""Errors whose message is written for the user: a command prints it in one line, without a traceback.

`ConfigError` is in `config/checks.py`, those of a package in the package; all of them are `UserError`s.
`counted` and `nearest` are what messages share.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something in the input, the settings or the surroundings cannot work; the message says what, and what would do."""


class DataError(UserError, ValueError):
    """Input that cannot be used; the message names the file and, where there is one, the row and the field."""


class RunError(DataError):
    """A run folder that cannot be used as it is; the message says why and what to do."""


class MemberGoneError(RunError):
    """Another process of a cluster is gone; all members started again continue."""


class RunBusyError(RunError):
    """Another process works in the run folder."""


def counted(count: int, noun: str) -> str:
    """Returns a count and its noun, for messages: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns the known word that is most like a wrong one, as "; did you mean ...?", or "" where none is."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
