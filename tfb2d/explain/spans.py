"""Finds a text's tokens in the text as its writer spelt it, so that what they add can be marked there."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfb2d.students.text_spec import fold_table


@dataclass(frozen=True)
class Span:
    """Is a piece of a text, and what it adds to the logit: 0 between tokens and after the last token that is read."""

    text: str
    value: float


def positions(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Returns where each token begins and ends in the text, which has no lone surrogates, as indices of characters.

    Tokens are those of the text in their order, folded, as the student reads them; later ones may be missing. Accents that
    folding deletes belong to the token in front of them.
    """
    table = fold_table()
    kept = [(at, folded) for at, letter in enumerate(text) if (folded := table.get(ord(letter), ord(letter)))]
    plain = "".join(chr(folded) for _, folded in kept)
    ranges: list[tuple[int, int]] = []
    end = 0
    for token in tokens:
        begin = plain.find(token, end)
        if begin < 0:
            break
        end = begin + len(token)
        ranges.append((kept[begin][0], kept[end][0] if end < len(kept) else len(text)))
    return ranges


def spans(text: str, tokens: Sequence[str], values: Sequence[float]) -> tuple[Span, ...]:
    """Cuts a text into its tokens (as of `positions`), with what each adds, and what is between; joined they are it."""
    pieces: list[Span] = []
    end = 0
    for (first, last), value in zip(positions(text, tokens), values, strict=False):
        if first > end:
            pieces.append(Span(text[end:first], 0.0))
        pieces.append(Span(text[first:last], float(value)))
        end = last
    if end < len(text):
        pieces.append(Span(text[end:], 0.0))
    return tuple(pieces)
