"""Computes what each n-gram adds to a logit, by integrated gradients through the trained student.

Every n-gram gets a weight, and so does every pair of tokens in soft matching. At weights of 1 the student gives the row's
logit; at weights of 0 every feature is zero, and it gives the logit of an empty row. Along the straight line between the
two, a weight's mean gradient is what its n-gram adds (Sundararajan et al. 2017, arXiv 1703.01365):

* an n-gram's weight multiplies its vector in all pools, and its part in the shares of matched n-grams;
* a pair's weight multiplies what the pair adds to the counts of all kernels;
* a composed n-gram has a weight for each token in its window, of the part that this token's vector adds.

All contributions sum to the logit less the logit of an empty row, up to the error of the integral's midpoint rule.
`Explanation.gap` states that error. With the default of 256 steps it stays below 2% of the difference in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.outcomes import Calibration
from tfb2d.students import text_spec
from tfb2d.students.layout import PaddedTexts
from tfb2d.students.model import Student
from tfb2d.students.ngrams import names
from tfb2d.students.pairs import Field, unit_rows
from tfb2d.students.rows import ragged

STEPS = 256
NUMBERS_AT_ONCE = 2**22  # elements of the largest tensor of a chunk of steps; bounds memory


@dataclass(frozen=True)
class NGram:
    """Holds an n-gram of a text, and what it adds to the logit."""

    field: int  # index of the text field
    start: int  # index of the first token
    order: int  # how many tokens; those past the text's end are a mark
    text: str  # as people read it
    row: int  # of the table; of a composed n-gram that of its first token
    value: float  # added to the logit
    unseen: bool  # whether all of its rows of the table are zero, because training never met it
    matched: bool | None  # whether the other side has it too; None in single texts


@dataclass(frozen=True)
class SoftMatch:
    """Holds a query token and a title token by index and text, their cosine, and what the pair adds to the logit."""

    query: int
    title: int
    texts: tuple[str, str]
    cosine: float
    value: float


@dataclass(frozen=True)
class Explanation:
    """Holds the contributions to one row's logit."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]  # of each field, as the student reads them
    ngrams: tuple[NGram, ...]  # in the order of the text
    # pairs of tokens, the largest contribution first; none where the student does not match softly
    soft: tuple[SoftMatch, ...]
    logit: float  # of the class explained
    baseline: float  # the same of an empty row
    gap: float  # logit less baseline less all contributions: the error of the integral
    cut: tuple[int, ...]  # how many tokens of each field lie beyond `max_tokens`; the student does not read them
    predicted: int  # the class explained; 0 where there is one logit a row
    logits: np.ndarray  # `[n_logits]`, all of them
    # of a student with a window `[tokens, window]`: what each token of each composed n-gram adds
    offsets: np.ndarray | None = None
    # of a student with an early exit, whether its cheap output decided; the contributions are to that output
    exits: bool | None = None

    def typed(self, field: int) -> list[str]:
        """Returns the tokens of a field as they were typed; the student may read a misspelt one as another."""
        read = text_spec.tokens(self.texts[field], max(1, len(self.tokens[field])))
        return [token.decode("utf-8", "replace") for token in read]

    def token_values(self) -> list[np.ndarray]:
        """Returns what each token of each field adds, `[tokens]`: its share of n-grams, and half of its soft matches."""
        values = [np.zeros(len(tokens)) for tokens in self.tokens]
        if self.offsets is not None:
            tokens, window = self.offsets.shape
            for offset in range(window):  # the mark after the last token counts as the last token
                at = np.minimum(np.arange(tokens) + offset, tokens - 1)
                np.add.at(values[0], at, self.offsets[:, offset])
            return values
        for ngram in self.ngrams:
            end = min(ngram.start + ngram.order, len(self.tokens[ngram.field]))
            values[ngram.field][ngram.start : end] += ngram.value / (end - ngram.start)
        for pair in self.soft:
            values[0][pair.query] += pair.value / 2
            values[1][pair.title] += pair.value / 2
        return values


@dataclass(frozen=True)
class _Side:
    """Holds a field of the row."""

    tokens: list[bytes]  # as the student reads them
    # `[tokens, orders]` int, the n-grams' rows of the table; of a composed n-gram that of its first token
    ids: tf.Tensor
    # `[tokens, orders, dim]` float32, the n-grams' vectors; of a composed n-gram `[tokens, window, dim]`, vectors that
    # it is the sum of
    parts: tf.Tensor
    unseen: np.ndarray  # `[tokens, orders]` bool, whether all of the n-gram's rows are zero
    units: Any  # `[tokens, dim]` float32, vectors of soft matching; None without it


def explain(
    student: Student,
    texts: Sequence[str],
    steps: int = STEPS,
    target: int | None = None,
    calibration: Calibration | None = None,
) -> Explanation:
    """Computes what each n-gram and each soft match adds to a row's logit, by an integral of `steps` (midpoint rule).

    `target` is the class whose logit is explained; by default the likeliest, which is the one that the model decides
    for, by the `calibration` where there is one. The row has a text for each field.
    """
    sides = [_side(student, text, field) for field, text in enumerate(texts)]
    logits = student.model([tf.constant([text]) for text in texts], training=False).numpy()[0]
    likely = logits if calibration is None or len(logits) == 1 else calibration.apply(logits[None])[0]
    predicted = int(np.argmax(likely)) if target is None else target
    exits = None
    if student.exit and student.paths:
        cheap, _ = student.paths([student.tokens(tf.constant(texts))], training=False)
        exits = bool(student.exit.decide(cheap)[1][0])
    values, pairs = _integrate(student, sides, predicted, steps, exits)
    offsets = values[0] if student.config.window else None
    if student.config.window:
        values = [value.sum(1, keepdims=True) for value in values]
    soft: tuple[SoftMatch, ...] = () if pairs is None else _soft_matches(sides, pairs)
    ngrams = _ngrams(student, sides, values)
    total = sum(ngram.value for ngram in ngrams) + sum(match.value for match in soft)
    cut = tuple(len(text_spec.tokens(t, 2**31 - 1)) - len(s.tokens) for t, s in zip(texts, sides, strict=True))
    words = tuple(map(_words, sides))
    logit, baseline = float(logits[predicted]), float(_empty_row(student, exits)[predicted])
    gap = logit - baseline - total
    return Explanation(tuple(texts), words, ngrams, soft, logit, baseline, gap, cut, predicted, logits, offsets, exits)


def _empty_row(student: Student, exits: bool | None) -> np.ndarray:
    """Computes the logits of a row without tokens, `[n_logits]`; with an early exit those of the output that decided."""
    texts = [tf.constant([""]) for _ in student.task.fields]
    if exits is None or student.exit is None or student.paths is None:
        return student.model(texts, training=False).numpy()[0]
    cheap, full = student.paths([student.tokens(column) for column in texts], training=False)
    return (student.exit.decide(cheap)[0] if exits else full).numpy()[0]


def _side(student: Student, text: str, field: int) -> _Side:
    tokens = student.tokens_read(text, field)
    hashes = np.array([text_spec.token_hash(token, student.config.affixes) for token in tokens], np.int64)
    row = ragged(hashes, np.array([0, len(hashes)], np.int64))
    ids = student.ngrams.ids(row)
    vectors = student.ngrams.vectors(ids)
    unseen: np.ndarray = np.logical_not(np.any(vectors, axis=-1))
    units = None
    if student.kernels:
        embedding = student.kernels.embedding
        units = unit_rows(embedding.vectors(embedding.ids(row))[:, 0])
    if student.config.window:
        return _Side(tokens, ids[:, :1], _parts(student, vectors), np.all(unseen, axis=1, keepdims=True), units)
    return _Side(tokens, ids, vectors, unseen, units)


def _parts(student: Student, vectors: tf.Tensor) -> tf.Tensor:
    """Splits composed n-grams by token, `[tokens, window, dim]`; the parts sum to what `ComposedPool` composes."""
    window = student.config.window
    # A token's affixes are its own, so they count as part of it.
    own = tf.reduce_sum(vectors[:, window:], 1, keepdims=True) + vectors[:, :1]
    parts = tf.concat([own, vectors[:, 1:window]], 1) + student.pool.bias / window
    composed = student.pool.compose(vectors, PaddedTexts(tf.ones([1, tf.shape(vectors)[0]])))
    return parts * tf.cast(tf.reshape(composed, [-1, 1, parts.shape[-1]]) > 0, tf.float32)


def _integrate(
    student: Student, sides: Sequence[_Side], target: int, steps: int, exits: bool | None
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Averages the gradients of all weights along the line from 0 to 1.

    Returns what each n-gram (or part of a composed one) adds, `[tokens, orders or window]` float64 a field; and what
    each pair of tokens adds, `[query tokens, title tokens]`, None without soft matching.
    """
    shapes = [side.parts.shape[:2] for side in sides]
    largest = max(int(np.prod(side.parts.shape)) for side in sides)
    if student.kernels:
        shapes.append([len(side.tokens) for side in sides])
        largest = max(largest, int(np.prod(shapes[-1])) * student.config.kernels)
    along = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    totals = [np.zeros(shape) for shape in shapes]
    for chunk in np.array_split(along, max(1, min(steps, -(-steps * largest // NUMBERS_AT_ONCE)))):
        weights = [tf.constant(np.multiply.outer(chunk, np.ones(shape, np.float32))) for shape in shapes]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = _weighted_logits(student, sides, weights, exits)[:, target]
        gradients = tape.gradient(logits, weights, unconnected_gradients="zero")
        for total, gradient in zip(totals, gradients, strict=True):
            total += gradient.numpy().sum(0, dtype=np.float64) / steps
    return totals[: len(sides)], totals[-1] if student.kernels else None


def _weighted_logits(
    student: Student, sides: Sequence[_Side], weights: Sequence[tf.Tensor], exits: bool | None
) -> tf.Tensor:
    """Computes logits `[steps, n_logits]` at weights `[steps, tokens, orders or window]` of each field, and of pairs."""
    fields = []
    for side, weight in zip(sides, weights, strict=False):
        texts = PaddedTexts(tf.ones([1, len(side.tokens)]))
        ngrams = side.parts * weight[..., None]
        if student.config.window:
            ngrams = tf.reduce_sum(ngrams, 2, keepdims=True)
        fields.append(Field(texts, side.ids[None], ngrams, weight))
    units = [side.units[None] for side in sides] if student.kernels else []
    return student.logits_of(fields, units, weights[-1] if student.kernels else None, exits)


def _words(side: _Side) -> tuple[str, ...]:
    return tuple(token.decode("utf-8", "replace") for token in side.tokens)


def _soft_matches(sides: Sequence[_Side], values: np.ndarray) -> tuple[SoftMatch, ...]:
    """Lists the pairs of tokens, the largest contribution first."""
    cosines = sides[0].units.numpy() @ sides[1].units.numpy().T
    words = [_words(side) for side in sides]
    matches = [
        SoftMatch(q, t, (words[0][q], words[1][t]), float(cosines[q, t]), float(values[q, t]))
        for q, t in np.ndindex(*values.shape)
    ]
    return tuple(sorted(matches, key=lambda match: -abs(match.value)))


def _ngrams(student: Student, sides: Sequence[_Side], values: Sequence[np.ndarray]) -> tuple[NGram, ...]:
    """Lists the n-grams of all fields in the order of the text."""
    ids, ngrams = [side.ids.numpy() for side in sides], []
    orders = (student.config.window,) if student.config.window else student.config.orders
    for field, side in enumerate(sides):
        others = ids[1 - field] if len(sides) == 2 else None
        for column, order in enumerate(orders):
            rows = ids[field][:, column].tolist()
            other_rows = set() if others is None else set(others[:, column].tolist())
            for at, name in enumerate(names(side.tokens, order)):
                matched = None if others is None else rows[at] in other_rows
                value, unseen = float(values[field][at, column]), bool(side.unseen[at, column])
                ngrams.append(NGram(field, at, order, name, rows[at], value, unseen, matched))
    return tuple(sorted(ngrams, key=lambda ngram: (ngram.field, ngram.start, ngram.order)))
