"""Formats explanations for the terminal, in the colours that it supports, or as plain text for pipes."""

import os
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np

from tfb2d.cli.terminal import printable
from tfb2d.explain.views import Part, View

UP, DOWN = (29, 95, 209), (190, 75, 10)  # adds to the score, takes from it: hues that colour-blind readers distinguish


def colours(stream: TextIO, environment: Mapping[str, str] = os.environ, choice: str = "auto") -> str:
    """Returns how many colours to use on a stream: "none", "16", "256" or "24bit", by COLORTERM and TERM.

    NO_COLOR (https://no-color.org) and pipes get none, unless `choice` ("auto", "always" or "never") says "always".
    """
    if choice == "never" or (choice == "auto" and (environment.get("NO_COLOR") or not stream.isatty())):
        return "none"
    term = environment.get("TERM", "")
    if choice == "auto" and term in ("", "dumb"):
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "24bit"
    return "256" if "256" in term else "16"


def shade(text: str, strength: float, level: str) -> str:
    """Colours a text's background by its strength, -1 (takes away: orange) to 1 (adds: blue), at a level of `colours`."""
    if level == "none" or abs(strength) < 0.05:
        return text
    colour = UP if strength > 0 else DOWN
    if level == "16":
        return f"\x1b[{34 if strength > 0 else 33}{';1' if abs(strength) > 0.5 else ''}m{text}\x1b[0m"
    ground = [round(255 + (part - 255) * min(abs(strength), 1.0)) for part in colour]
    ink = 16 if sum(ground) > 380 else 231
    if level == "24bit":
        return f"\x1b[48;2;{ground[0]};{ground[1]};{ground[2]};38;5;{ink}m{text}\x1b[0m"
    cube = 16 + sum(round(part / 255 * 5) * weight for part, weight in zip(ground, (36, 6, 1), strict=True))
    return f"\x1b[48;5;{cube};38;5;{ink}m{text}\x1b[0m"


def bar(value: float, most: float, level: str, width: int = 12) -> str:
    """Draws a value as a bar to the left (below 0) or right of a middle line."""
    length = round(abs(value) / most * width) if most else 0
    block = shade("█" * length, np.sign(value) * 1.0, "none" if level == "none" else "16") if length else ""
    gap = " " * (width - length)
    return f"{gap}{block}│{' ' * width}" if value < 0 else f"{' ' * width}│{block}{gap}"


def show(view: View, level: str, top: int) -> str:
    """Formats one row's explanation as lines of text, at a level of `colours`; lists `top` n-grams and soft matches."""
    lines = [f"score {view.score}   logit {view.logit:+.3f} = {view.baseline:+.3f} (empty row) {view.sum:+.3f} (below)"]
    most = view.largest()
    for name, tokens in view.fields:
        head = f"{name}: " if len(view.fields) > 1 else ""
        lines.append(head + " ".join(shade(printable(text), value / most, level) for text, value in tokens))
    lines += [f"note  {note}" for note in view.notes]
    for title, parts in (("n-gram", view.parts), ("soft match", view.soft)):
        lines += ["", *_table(title, parts[:top], level)] if parts else []
        if hidden := parts[top:]:
            lines.append(f"… and {len(hidden)} more, {sum(part.value for part in hidden):+.3f} together")
    for title, ngrams in (("matched", view.matched), ("unmatched", view.unmatched)):
        if ngrams is not None:
            lines += ["", f"{title}: {printable(', '.join(ngrams)) or 'none'}"]
    return "\n".join(lines)


def _table(title: str, parts: Sequence[Part], level: str) -> list[str]:
    texts = [printable(part.text) for part in parts]
    width = max(map(len, (title, *texts)))
    most = max(abs(part.value) for part in parts)
    lines = [f"{title.ljust(width)}  {'adds':>7s}"]
    for text, part in zip(texts, parts, strict=True):
        drawn = bar(part.value, most, level)
        lines.append(f"{text.ljust(width)}  {part.value:+7.3f}  {drawn}  {part.about}".rstrip())
    return lines
