"""The axes that a sweep may have, and how the variants on each are made."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tfb2d.config import ConfigError
from tfb2d.sweep.settings import ALL, Facts, Settings, Variant

MOST_EPOCHS = 10
ROWLESS = (
    "so that none has a table row of its own; --config.student.window=0 --config.student.convolutions=() "
    "--config.student.convolution_width=0 --config.student.vocabulary=0 --config.student.affixes=() sweeps a student whose "
    "n-grams have one"
)
INTERACTIONS = ("products", "differences", "matched", "soft_match")
Values = tuple[str, ...]


class CannotAnswer(ConfigError):
    """Says that the run lacks what an axis varies."""


Made = tuple[list[Variant], str]  # and a note for the reader
Maker = Callable[[Settings, Facts, Values | None], Made]


def _temperature(start: Settings, facts: Facts, values: Values | None) -> Made:
    numbers = [float(value) for value in values or ("1", "2", "3", "5", "10")]
    return [Variant(f"T = {t:g}", _distilled(start, temperature=t), t) for t in numbers], ""


def _transfer(start: Settings, facts: Facts, values: Values | None) -> Made:
    sizes = [count(value) for value in values or ("0", "10k", "30k", "100k", "300k", "1m")]
    pool = facts.unlabelled + facts.augmented
    if not pool:
        raise CannotAnswer("the run's transfer set has labelled rows alone")
    variants = [Variant(f"{size:,}", replace(start, rows=size), size) for size in sorted(set(sizes)) if size < pool]
    note = (
        f"Rows beyond the {facts.labelled:,} labelled ones, which all variants have with the teacher's scores. Drawn "
        f"from {facts.unlabelled:,} unlabelled and {facts.augmented:,} augmented rows; larger sets hold the smaller ones."
    )
    return [*variants, Variant(f"{pool:,} (all)", replace(start, rows=ALL), pool)], note


def _teachers(start: Settings, facts: Facts, values: Values | None) -> Made:
    if len(start.teachers) < 2:
        raise CannotAnswer("the run has one teacher; a stack needs two")
    alone = replace(start.distill, stack="mean", weights=())
    variants = [Variant(f"{name} alone", replace(start, teachers=(name,), distill=alone)) for name in start.teachers]
    for stack in ("mean", "logistic"):
        variants.append(Variant(f"{stack} of {len(start.teachers)}", _distilled(start, stack=stack, weights=())))
    return variants, "Fidelity is to the recipe's own stack throughout."


def _targets(start: Settings, facts: Facts, values: Values | None) -> Made:
    soft = _distilled(start, hard_weight=0.0)
    variants = [
        Variant("labels alone, labelled rows", replace(soft, targets="labels")),
        Variant("soft, labelled rows", replace(soft, rows=0)),
        Variant("teacher's decisions, transfer rows", replace(soft, targets="decisions")),
        Variant("soft, transfer rows", soft),
    ]
    for weight in sorted({0.3, start.distill.hard_weight} - {0.0}):
        title = f"soft, transfer rows, {weight:g} of the label where there is one"
        variants.append(Variant(title, _distilled(start, hard_weight=weight)))
    return variants, ""


def _orders(start: Settings, facts: Facts, values: Values | None) -> Made:
    if start.student.window:
        raise CannotAnswer(f"the student composes n-grams (student.window={start.student.window}), {ROWLESS}")
    return _shapes(start, "orders", values or ("1", "1-2", "1-2-3", "2"))


def _convolutions(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not start.student.window:
        why = "the student's n-grams are not composed (student.window=0); convolutions go over those that are"
        raise CannotAnswer(why)
    made = []
    for shape in map(_numbers, values or ("none", "1", "1-2", "1-2-4")):
        width = start.student.convolution_width if shape else 0
        title = f"convolutions {', '.join(map(str, shape)) or 'none'}"
        made.append(Variant(title, _student(start, convolutions=shape, convolution_width=width)))
    return made, "Over composed n-grams; the numbers are the distances of a convolution's neighbours."


def _convolution_width(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not start.student.convolutions:
        raise CannotAnswer("the student has no convolutions (student.convolutions)")
    numbers = [count(value) for value in values or ("0", "64", "128", "256")]
    variants = [Variant(f"width {n}" if n else "no width", _student(start, convolution_width=n), n) for n in numbers]
    return variants, "Of the convolutions' ReLU, followed by a second product; without one it is the embedding's."


def _ffn(start: Settings, facts: Facts, values: Values | None) -> Made:
    return _shapes(start, "ffn", values or ("none", "64", "256-64", "1024-256", "1024-512-128-64"))


def _buckets(start: Settings, facts: Facts, values: Values | None) -> Made:
    if start.student.vocabulary:
        raise CannotAnswer(
            "tokens have rows of their own (student.vocabulary); --config.student.vocabulary=0 sweeps a student whose "
            "tokens are hashed"
        )
    numbers = [count(value) for value in values or ("2^14", "2^16", "2^18", "2^20")]
    variants = [Variant(f"{n:,} buckets", _student(start, buckets=n), n) for n in numbers]
    note = "Collisions: n-grams of the transfer rows whose table row another n-gram has too."
    if start.student.window:
        note = (
            "Collisions: tokens of the transfer rows that share a table row, at an n-gram's first position. Rows of other "
            "positions, in the same table, are not counted."
        )
    return variants, note


def _dim(start: Settings, facts: Facts, values: Values | None) -> Made:
    numbers = [count(value) for value in values or ("16", "32", "64", "128")]
    return [Variant(f"width {n}", _student(start, dim=n), n) for n in numbers], ""


def _interactions(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not facts.pairs:
        raise CannotAnswer("the task has one text field; there is nothing to interact")
    names = [name for name in INTERACTIONS if getattr(start.student, name)]
    if not names:
        raise CannotAnswer("the recipe has no interaction features to leave out")
    variants = [Variant("all that the recipe has", start)]
    variants += [Variant(f"without {n.replace('_', ' ')}", _student(start, **{n: False})) for n in names]
    if len(names) > 1:
        variants += [Variant("none: pools side by side", _student(start, **dict.fromkeys(names, False)))]
    return variants, ""


def _augmentation(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not facts.augmented:
        raise CannotAnswer("the run's data has no augmented rows")
    off = replace(start, augmented=False)
    as_long = longer(off, start, facts)
    variants = [Variant("with augmented rows", start), Variant("without", off)]
    if as_long != off:
        variants.append(Variant(f"without, {as_long.training.epochs} epochs: as many steps", as_long))
    limited = "Without augmented rows, unlabelled ones take their place." if start.rows != ALL else ""
    return variants, limited


def _teacher_init(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not facts.words:
        raise CannotAnswer("the run has no word vectors of a teacher (stage `words`)")
    titles = {"token rows start from the teacher's": True, "random start": False}
    return [Variant(title, _student(start, teacher_init=on)) for title, on in titles.items()], ""


def _vocabulary(start: Settings, facts: Facts, values: Values | None) -> Made:
    if start.student.window:
        return _tokens_with_rows(start, values)
    sizes = [count(value) for value in values or ("10k", "30k", "100k")]
    if min(sizes) < 1:
        raise ValueError("a vocabulary has an n-gram or more")
    variants = [Variant(f"vocabulary of {size:,}", replace(start, vocabulary=size), size) for size in sizes]
    variants.append(Variant(f"hashing, {start.student.buckets:,} rows", start))
    note = "The most frequent n-grams of the transfer rows have a row each, all others share one"
    return variants, f"{note}: no hashing, a file to ship."


def _tokens_with_rows(start: Settings, values: Values | None) -> Made:
    """Returns vocabularies of a student that composes n-grams; such a vocabulary is served with it."""
    window, own = start.student.window, start.student.vocabulary
    room = start.student.buckets // window - 3  # slots for a text's end and all other tokens, and rows for affixes
    usual = sorted({*(size for size in (10_000, 30_000) if size < room), *([own] if own else [])})
    if not (values or usual):
        rows = f"{start.student.buckets:,} rows"
        raise CannotAnswer(f"{rows} hold no 10,000 tokens, {window} each; --values=vocabulary=...")
    sizes = [count(value, least=1) for value in values] if values else usual
    variants = [Variant(f"vocabulary of {n:,}", _student(start, vocabulary=n), n) for n in sizes]
    variants.append(Variant(f"hashing, {start.student.buckets:,} rows", _student(start, vocabulary=0)))
    return variants, "The most frequent tokens have rows of their own, all others share one; by hashing all share rows."


def _affixes(start: Settings, facts: Facts, values: Values | None) -> Made:
    if not start.student.affixes:
        raise CannotAnswer("the student has no rows for affixes (student.affixes) to leave out")
    prefix, suffix = start.student.affixes
    return [
        Variant(f"rows for prefixes of {prefix} bytes and suffixes of {suffix}", start),
        Variant("without", _student(start, affixes=())),
    ], ""


def longer(settings: Settings, start: Settings, facts: Facts) -> Settings:
    """Returns the settings with as many training steps as the base, up to MOST_EPOCHS times its epochs."""
    times = min(max(facts.rows(start) / facts.rows(settings), 1.0), MOST_EPOCHS)
    return replace(settings, training=replace(settings.training, epochs=round(settings.training.epochs * times)))


def _shapes(start: Settings, field: str, values: Values) -> Made:
    shapes = {f"{field} {', '.join(map(str, shape)) or 'none'}": shape for shape in map(_numbers, values)}
    return [Variant(title, _student(start, **{field: shape})) for title, shape in shapes.items()], ""


def _distilled(start: Settings, **changed: Any) -> Settings:
    return replace(start, distill=replace(start.distill, **changed))


def _student(start: Settings, **changed: Any) -> Settings:
    return replace(start, student=replace(start.student, **changed))


def count(text: str, least: int = 0) -> int:
    """Parses a count as people write it: 300000, 300k, 1m, 2^18; raises ValueError of none, or of less than `least`."""
    text = text.strip().lower()
    if "^" in text:
        low, high = text.split("^")
        number: float = int(low) ** int(high)
    else:
        scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:], 1)
        number = round(float(text[:-1] if scale > 1 else text) * scale, 6)
    if not (number >= least and float(number).is_integer()):
        raise ValueError(f"{text!r} is not a count" + (f" of {least} or more" if least else ""))
    return int(number)


def _numbers(text: str) -> tuple[int, ...]:
    return () if text in ("", "none") else tuple(int(part) for part in text.split("-"))


AXES: dict[str, tuple[str, Maker]] = {
    "temperature": ("Temperature of the teacher's logits", _temperature),
    "transfer": ("Size of the transfer set", _transfer),
    "teachers": ("One teacher or a stack", _teachers),
    "targets": ("Hard labels or soft ones", _targets),
    "orders": ("N-gram orders", _orders),
    "convolutions": ("Convolutions over composed n-grams", _convolutions),
    "convolution_width": ("Width of the convolutions", _convolution_width),
    "buckets": ("Buckets of the hash", _buckets),
    "dim": ("Width of the embedding", _dim),
    "ffn": ("Widths of the feed-forward network", _ffn),
    "interactions": ("Interaction features", _interactions),
    "augmentation": ("Augmented rows", _augmentation),
    "teacher_init": ("Start of the token rows", _teacher_init),
    "vocabulary": ("Vocabulary or hashing", _vocabulary),
    "affixes": ("Rows for how tokens begin and end", _affixes),
}
