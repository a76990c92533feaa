"""Puts an explanation into the words and numbers that terminal, HTML page and JSON show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfb2d.data.task import Task
from tfb2d.explain.contributions import Explanation, NGram
from tfb2d.outcomes import Calibration


@dataclass(frozen=True)
class Part:
    """Holds an n-gram, all of its occurrences in a field together, or a pair of tokens that match softly."""

    text: str
    value: float
    about: str = ""


@dataclass(frozen=True)
class View:
    """Holds what is shown of a row."""

    score: str  # calibrated, with the class's name where there are classes
    probability: float
    logit: float  # `baseline` and `sum` together, up to `gap`
    baseline: float
    sum: float
    gap: float
    texts: tuple[str, ...]
    # name of each field, and its tokens with what they add
    fields: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    parts: tuple[Part, ...]  # the largest first
    soft: tuple[Part, ...]
    matched: tuple[str, ...] | None  # n-grams of a pair; None in single texts
    unmatched: tuple[str, ...] | None
    notes: tuple[str, ...]  # what the reader should know


def view(task: Task, calibration: Calibration, explanation: Explanation) -> View:
    """Puts a row's explanation into words."""
    scores = calibration.apply(explanation.logits[None] if task.n_logits > 1 else explanation.logits)
    probability = float(scores[0, explanation.predicted] if task.n_logits > 1 else scores[0])
    name = class_name(task, explanation.predicted)
    pair = len(task.fields) == 2
    totals: dict[tuple[int, str], list[float]] = {}
    for ngram in explanation.ngrams:
        totals.setdefault((ngram.field, ngram.text), []).append(ngram.value)
    first = {(ngram.field, ngram.text): ngram for ngram in reversed(explanation.ngrams)}
    parts = [
        Part(text, sum(values), "; ".join(_about(task, first[field, text], len(values))))
        for (field, text), values in totals.items()
    ]
    notes = [
        f"{task.fields[field]}: the last {cut:,} of {cut + len(tokens):,} tokens are not read"
        for field, (cut, tokens) in enumerate(zip(explanation.cut, explanation.tokens, strict=True))
        if cut
    ]
    if abs(explanation.gap) > 0.005 * max(1.0, abs(explanation.logit - explanation.baseline)):
        notes.append(f"contributions miss the logit by {explanation.gap:+.4f}; more --steps bring them nearer")
    if explanation.exits is not None:
        notes.append(
            f"decided by the {'early exit' if explanation.exits else 'convolutions: the early exit was unsure'}"
        )
    if calibration.note:
        notes.append(calibration.note)
    values = explanation.token_values()
    return View(
        f"{name} {probability:.3f}".strip(),
        probability,
        explanation.logit,
        explanation.baseline,
        explanation.logit - explanation.baseline - explanation.gap,
        explanation.gap,
        explanation.texts,
        tuple(
            (field, tuple(zip(tokens, map(float, added), strict=True)))
            for field, tokens, added in zip(task.fields, explanation.tokens, values, strict=True)
        ),
        tuple(sorted(parts, key=lambda part: -abs(part.value))),
        tuple(Part(" ~ ".join(pair.texts), pair.value, f"cosine {pair.cosine:.2f}") for pair in explanation.soft),
        _named(explanation, True) if pair else None,
        _named(explanation, False) if pair else None,
        tuple(notes),
    )


def class_name(task: Task, predicted: int) -> str:
    """Returns the class whose probability a score is; "" where it has no name."""
    if task.n_logits > 1:
        return task.classes[predicted]
    return task.classes[1] if len(task.classes) == 2 else ""


def strength(values: Sequence[float]) -> list[float]:
    """Scales values so that the largest is 1 or -1."""
    most = max((abs(value) for value in values), default=0.0) or 1.0
    return [float(np.clip(value / most, -1, 1)) for value in values]


def _about(task: Task, ngram: NGram, times: int) -> list[str]:
    about = []
    if ngram.matched is not None:
        about = [task.fields[ngram.field], "on both sides" if ngram.matched else "on this side alone"]
    return about + ([f"{times} times"] if times > 1 else []) + (["never met in training"] if ngram.unseen else [])


def _named(explanation: Explanation, matched: bool) -> tuple[str, ...]:
    names = [ngram.text for ngram in explanation.ngrams if ngram.matched is matched]
    return tuple(dict.fromkeys(names))
