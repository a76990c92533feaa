"""Writes a product's name as shoppers type it: whole, with words left out or in another order, or misspelled."""

import random
from collections.abc import Callable

KINDS = {"whole": 0.4, "dropped": 0.2, "reordered": 0.15, "misspelled": 0.25}  # their shares
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # neighbours on the keyboard
_NEIGHBOURS = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, key in enumerate(row)}


def draw_kind(draw: random.Random) -> str:
    """Draws one of KINDS."""
    return draw.choices(list(KINDS), list(KINDS.values()))[0]


def typed(name: str, kind: str, draw: random.Random) -> str:
    """Writes a query for a product.

    Words with a digit in them (model codes, sizes) tell products apart, so they are never dropped. But a long code may lose
    its last characters or be cut in two.

    Args:
      name: the product's name.
      kind: of KINDS.
      draw: a random generator.

    Returns:
      The query, lower-cased; the whole name where it is too short for a change of the kind.
    """
    words = name.lower().split()
    return " ".join(_CHANGES[kind](words, draw)) if len(words) > 1 else " ".join(words)


def is_code(word: str) -> bool:
    """Says whether a word has a digit in it."""
    return any(map(str.isdigit, word))


def _dropped(words: list[str], draw: random.Random) -> list[str]:
    plain = [at for at, word in enumerate(words) if not is_code(word)]
    most = min(len(plain), max(1, len(words) // 3), len(words) - 1)
    if most < 1 or (len(plain) == len(words) and len(words) < 3):
        return words
    dropped = set(draw.sample(plain, draw.randint(1, most)))
    return [word for at, word in enumerate(words) if at not in dropped]


def _reordered(words: list[str], draw: random.Random) -> list[str]:
    at, to = draw.sample(range(len(words)), 2)
    others = words[:at] + words[at + 1 :]
    return [*others[:to], words[at], *others[to:]]


def _misspelled(words: list[str], draw: random.Random) -> list[str]:
    long = [at for at, word in enumerate(words) if len(word) > 3]
    if not long:
        return words
    at = draw.choice(long)
    word = words[at]
    changed = _mistyped_code(word, draw) if is_code(word) else _mistyped_word(word, draw)
    return [*words[:at], changed, *words[at + 1 :]]


def _mistyped_code(word: str, draw: random.Random) -> str:
    borders = [i for i in range(1, len(word)) if word[i].isdigit() != word[i - 1].isdigit()]
    if len(word) > 6 and (not borders or draw.random() < 0.5):
        return word[: -draw.randint(1, 3)]
    border = draw.choice(borders) if borders else len(word)
    return f"{word[:border]} {word[border:]}".strip()


def _mistyped_word(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word))  # the first letter is seldom wrong
    change = draw.randrange(4)
    if change == 0:
        return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
    if change == 1:
        return word[:at] + word[at + 1 :]
    if change == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + draw.choice(_NEIGHBOURS.get(word[at]) or word[at]) + word[at + 1 :]


_CHANGES: dict[str, Callable[[list[str], random.Random], list[str]]] = {
    "whole": lambda words, draw: words,
    "dropped": _dropped,
    "reordered": _reordered,
    "misspelled": _misspelled,
}
