"""Formats explanations for the terminal, in the colours that it supports, or as plain text for pipes."""

import os
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np

from tfb2d.explain.views import View
from tfb2d.terminal import printable

UP, DOWN = (29, 95, 209), (190, 75, 10)  # adds to the score, takes from it: hues that colour-blind readers tell apart


def colours(stream: TextIO, environment: Mapping[str, str] = os.environ, choice: str = "auto") -> str:
    """Returns how many colours to use: "none", "16", "256" or "24bit".

    NO_COLOR (https://no-color.org) and pipes get none, unless `choice` says "always".

    Args:
      stream: where the text goes.
      environment: COLORTERM, TERM and NO_COLOR are looked at.
      choice: "auto", "always" or "never".
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
    """Colours a text's background by its value: blue adds, orange takes away.

    Args:
      text: what to print.
      strength: from -1 to 1.
      level: of `colours`.
    """
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
    """Formats one row's explanation as lines of text.

    Args:
      view: what to show.
      level: of `colours`.
      top: n-grams and soft matches listed, of each.
    """
    lines = [f"score {view.score}   logit {view.logit:+.3f} = {view.baseline:+.3f} (empty row) {view.sum:+.3f} (below)"]
    most = max((abs(value) for _, tokens in view.fields for _, value in tokens), default=0.0) or 1.0
    for name, tokens in view.fields:
        head = f"{name}: " if len(view.fields) > 1 else ""
        lines.append(head + " ".join(shade(printable(text), value / most, level) for text, value in tokens))
    lines += [f"note  {note}" for note in view.notes]
    rows = [(printable(part.text), part.value, part.about) for part in view.parts[:top]]
    lines += ["", *_table("n-gram", rows, level)] if rows else []
    left = len(view.parts) - len(rows)
    if left > 0:
        lines.append(f"… and {left} more, {sum(part.value for part in view.parts[top:]):+.3f} together")
    if view.soft:
        pairs = [(printable(part.text), part.value, part.about) for part in view.soft[:top]]
        lines += ["", *_table("soft match", pairs, level)]
        left = len(view.soft) - len(pairs)
        if left > 0:
            lines.append(f"… and {left} more, {sum(part.value for part in view.soft[top:]):+.3f} together")
    for title, ngrams in (("matched", view.matched), ("unmatched", view.unmatched)):
        if ngrams is not None:
            lines += ["", f"{title}: {printable(', '.join(ngrams)) or 'none'}"]
    return "\n".join(lines)


def _table(title: str, rows: Sequence[tuple[str, float, str]], level: str) -> list[str]:
    width = max(len(title), *(len(text) for text, _, _ in rows))
    most = max(abs(value) for _, value, _ in rows)
    lines = [f"{title.ljust(width)}  {'adds':>7s}"]
    for text, value, about in rows:
        lines.append(f"{text.ljust(width)}  {value:+7.3f}  {bar(value, most, level)}  {about}".rstrip())
    return lines
