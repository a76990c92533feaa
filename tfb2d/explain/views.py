"""Puts an explanation into the words and numbers that terminal, HTML page and JSON show."""

from dataclasses import dataclass

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

    def largest(self) -> float:
        """Returns the largest of what tokens add, without its sign; 1 where none adds anything."""
        return max((abs(value) for _, tokens in self.fields for _, value in tokens), default=0.0) or 1.0


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
    for field, tokens in enumerate(explanation.tokens):
        read_as = {typed: read for typed, read in zip(explanation.typed(field), tokens, strict=True) if typed != read}
        notes += [f'{task.fields[field]}: "{typed}" is read as "{read}"' for typed, read in read_as.items()]
    if abs(explanation.gap) > 0.005 * max(1.0, abs(explanation.logit - explanation.baseline)):
        notes.append(f"contributions miss the logit by {explanation.gap:+.4f}; more --steps bring them nearer")
    if explanation.exits is not None:
        decider = "early exit" if explanation.exits else "convolutions: the early exit was unsure"
        notes.append(f"decided by the {decider}")
    if calibration.note:
        notes.append(calibration.note)
    words = [
        tuple(zip(tokens, map(float, added), strict=True))
        for tokens, added in zip(explanation.tokens, explanation.token_values(), strict=True)
    ]
    return View(
        score=f"{name} {probability:.3f}".strip(),
        probability=probability,
        logit=explanation.logit,
        baseline=explanation.baseline,
        sum=explanation.logit - explanation.baseline - explanation.gap,
        gap=explanation.gap,
        texts=explanation.texts,
        fields=tuple(zip(task.fields, words, strict=True)),
        parts=tuple(sorted(parts, key=lambda part: -abs(part.value))),
        soft=tuple(Part(" ~ ".join(pair.texts), pair.value, f"cosine {pair.cosine:.2f}") for pair in explanation.soft),
        matched=_named(explanation, True) if pair else None,
        unmatched=_named(explanation, False) if pair else None,
        notes=tuple(notes),
    )


def class_name(task: Task, predicted: int) -> str:
    """Returns the class whose probability a score is; "" where it has no name."""
    if task.n_logits > 1:
        return task.classes[predicted]
    return task.classes[1] if len(task.classes) == 2 else ""


def _about(task: Task, ngram: NGram, times: int) -> list[str]:
    about = []
    if ngram.matched is not None:
        about = [task.fields[ngram.field], "on both sides" if ngram.matched else "on this side alone"]
    return about + ([f"{times} times"] if times > 1 else []) + (["never met in training"] if ngram.unseen else [])


def _named(explanation: Explanation, matched: bool) -> tuple[str, ...]:
    names = [ngram.text for ngram in explanation.ngrams if ngram.matched is matched]
    return tuple(dict.fromkeys(names))
