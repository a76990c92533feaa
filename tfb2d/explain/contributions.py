"""What each n-gram adds to a logit.

The feed-forward network's inputs are pooled features, each a sum over n-grams (or over pairs of tokens, in soft matching);
those of convolutions are composed n-grams.
Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) go through the network alone, on the straight line from
the inputs of an empty row, which are all zeros, to the row's own: input i is worth `x_i` times the mean gradient along the
line. What an input is worth is then shared out exactly:

* pools: each n-gram's part of the sum (of a student with a window: each composed n-gram's; where convolutions go over
  these, they and not their pool are the inputs);
* products of query and title: half by the query's parts of the sum, half by the title's (the Shapley value of a product);
* differences: `|q - t| = sign(q - t) (q - t)`, by the parts of that sum;
* shares of matched n-grams: one part a match;
* soft matching: a query token's logarithm of a kernel's count, by the title tokens' parts of the count.

So all contributions sum to the logit less the logit of an empty row, up to the steps of the integral.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfb2d.data.errors import DataError
from tfb2d.evaluation.calibration import Calibration
from tfb2d.students import text_spec
from tfb2d.students.model import Student
from tfb2d.students.ngrams import names

STEPS = 256
TOLERANCE = 1e-3  # of the logit: by how much the student's own and the explained one may differ


@dataclass(frozen=True)
class NGram:
    """An n-gram at its place, and what it adds to the logit.

    Attributes:
      field, start, order: the text field, the first token, how many tokens (those past the text's end are a mark).
      text: as people read it.
      row: of the table; of a composed n-gram that of its first token.
      value: added to the logit.
      silent: whether all of its rows of the table are zero, as training never met it.
      matched: whether the other side has it too; None in single texts.
    """

    field: int
    start: int
    order: int
    text: str
    row: int
    value: float
    silent: bool
    matched: bool | None


@dataclass(frozen=True)
class SoftMatch:
    """A query token and a title token: how near they lie to each other, and what that adds to the logit."""

    query: int  # token numbers
    title: int
    texts: tuple[str, str]
    cosine: float
    value: float


@dataclass(frozen=True)
class Explanation:
    """One row's logit, taken apart.

    Attributes:
      tokens: of each field, as the student reads them.
      ngrams: in the order of the text.
      soft: pairs of tokens, the largest contribution first; none where the student does not match softly.
      logit: of the class explained.
      baseline: the same of an empty row.
      gap: logit less baseline less all contributions, what the steps of the integral left.
      cut: tokens of each field beyond the student's `max_tokens`, which it does not read.
      predicted: the class explained; 0 where there is one logit a row.
      logits: `[n_logits]`, all of them.
      offsets: of a student with a window `[tokens, window]`: what each token of each composed n-gram adds.
    """

    texts: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    ngrams: tuple[NGram, ...]
    soft: tuple[SoftMatch, ...]
    logit: float
    baseline: float
    gap: float
    cut: tuple[int, ...]
    predicted: int
    logits: np.ndarray
    offsets: np.ndarray | None = None

    def token_values(self) -> list[np.ndarray]:
        """What each token of each field adds: its share of the n-grams over it, and half of its soft matches."""
        values = [np.zeros(len(tokens)) for tokens in self.tokens]
        if self.offsets is not None:
            tokens, window = self.offsets.shape
            for offset in range(window):  # what the mark behind the last token adds is the last token's
                at = np.minimum(np.arange(tokens) + offset, tokens - 1)
                np.add.at(values[0], at, self.offsets[:, offset])
            return values
        for one in self.ngrams:
            end = min(one.start + one.order, len(self.tokens[one.field]))
            values[one.field][one.start : end] += one.value / (end - one.start)
        for pair in self.soft:
            values[0][pair.query] += pair.value / 2
            values[1][pair.title] += pair.value / 2
        return values


@dataclass
class _Side:
    """One field: its n-gram ids and vectors, their pool, and what its n-grams are worth."""

    tokens: list[bytes]
    hashes: tf.RaggedTensor
    ids: np.ndarray  # [tokens, orders]
    vectors: np.ndarray  # [tokens, orders, dim], divided as the pool divides their sum (before convolutions: whole)
    silent: np.ndarray  # [tokens, orders] bool, all of the n-gram's rows are zero
    values: np.ndarray  # [tokens, orders]
    parts: np.ndarray | None  # [tokens, window, dim] that the vectors of composed n-grams are sums of
    offsets: np.ndarray | None = None  # [tokens, window], what the parts are worth

    @property
    def pool(self) -> np.ndarray:
        return self.vectors.sum((0, 1))

    def share(self, gradient: np.ndarray, mask: np.ndarray | float = 1.0) -> None:
        """Adds what the n-grams' parts of a pooled sum are worth."""
        # Of a gradient for each n-gram, [tokens, dim], each takes its own.
        each = gradient[..., None] if gradient.ndim == 1 else gradient[:, :, None]
        self.values += (self.vectors @ each)[..., 0] * mask
        if self.parts is not None:
            self.offsets = (self.parts @ each)[..., 0]


def explain(
    student: Student,
    texts: Sequence[str],
    steps: int = STEPS,
    target: int | None = None,
    calibration: Calibration | None = None,
) -> Explanation:
    """Takes a row's logit apart.

    Args:
      student: a trained one.
      texts: one a field.
      steps: of the integral; the midpoint rule.
      target: the class whose logit is explained; by default the likeliest, which is the one that the model decides for.
      calibration: from logits to the probabilities that say which class that is; by default there is none.

    Raises:
      DataError: the student computes something that this function does not know of.
    """
    sides = [_side(student, text) for text in texts]
    inputs, shares = _features(student, sides)
    logits = student.model([tf.constant([text]) for text in texts], training=False).numpy()[0]
    likely = logits if calibration is None or len(logits) == 1 else calibration.apply(logits[None])[0]
    predicted = int(np.argmax(likely)) if target is None else target
    found = _head(student, [tf.constant(one[None], tf.float32) for one in inputs]).numpy()[0]
    if np.abs(found - logits).max() > TOLERANCE * max(1.0, np.abs(logits).max()):
        raise DataError(f"the student's logits are {logits}, its explained features give {found}: unknown features")
    baseline, gradients = _integrate(student, inputs, predicted, steps)
    soft = shares(gradients)
    ngrams = _ngrams(student, sides)
    total = sum(one.value for one in (*ngrams, *soft))
    cut = tuple(len(text_spec.tokens(t, 2**31 - 1)) - len(s.tokens) for t, s in zip(texts, sides, strict=True))
    words = tuple(tuple(token.decode("utf-8", "replace") for token in side.tokens) for side in sides)
    logit = float(logits[predicted])
    return Explanation(
        tuple(texts),
        words,
        ngrams,
        soft,
        logit,
        baseline,
        logit - baseline - total,
        cut,
        predicted,
        logits,
        sides[0].offsets,
    )


def _side(student: Student, text: str) -> _Side:
    tokens = text_spec.tokens(text, student.config.max_tokens)
    hashes = np.array([text_spec.token_hash(token, student.config.affixes) for token in tokens], np.int64)
    ragged = tf.RaggedTensor.from_row_splits(hashes, np.array([0, len(hashes)], np.int64), validate=False)
    ids = student.ngrams.ids(ragged)
    vectors = np.asarray(student.ngrams.vectors(ids), np.float64)
    if student.config.window:
        return _composed(student, tokens, ragged, np.asarray(ids), vectors)
    scale = max(vectors.shape[0] * vectors.shape[1], 1) ** -0.5
    silent = np.asarray(~vectors.any(-1))
    return _Side(tokens, ragged, np.asarray(ids), vectors * scale, silent, np.zeros(vectors.shape[:2]), None)


def _composed(
    student: Student, tokens: list[bytes], hashes: tf.RaggedTensor, ids: np.ndarray, vectors: np.ndarray
) -> _Side:
    """A field of `ComposedPool`: one n-gram a position; where its ReLU lets through, it is the sum of its parts."""
    if student.config.affixes:  # a token's own, so they count as part of it
        vectors, affixes = np.split(vectors, [student.config.window], 1)
        vectors[:, 0] += affixes.sum(1)
    # What leaves the ReLU does not say: it may be zero for rows that training met, and the bias for those that it did not.
    silent = np.asarray(~vectors.any((1, 2)))[:, None]
    bias = np.asarray(student.pool.bias, np.float64)
    parts = vectors + bias / vectors.shape[1]
    parts = parts * (parts.sum(1, keepdims=True) > 0)
    if not student.config.convolutions:  # with them the pool is not the sum of these
        parts *= max(len(tokens), 1) ** -0.5
    return _Side(tokens, hashes, ids[:, :1], parts.sum(1, keepdims=True), silent, np.zeros((len(tokens), 1)), parts)


def _features(student: Student, sides: Sequence[_Side]):  # type: ignore[no-untyped-def]
    """The network's inputs, [features] or [query pool, features], and a function that shares out their worth.

    Where composed n-grams go through convolutions, they are the input, `[tokens, dim]`.

    The function takes mean gradients of the inputs' shapes, adds to the sides' values and returns the soft matches.
    """
    title = sides[-1]
    if len(sides) == 1:

        def single(gradients: Sequence[np.ndarray]) -> tuple[SoftMatch, ...]:
            title.share(gradients[0])
            return ()

        return [title.vectors[:, 0] if student.config.convolutions else title.pool], single
    query = sides[0]
    config, dim = student.config, student.config.dim
    q, t = query.pool, title.pool
    features = [t]
    if config.products:
        features.append(q * t)
    if config.differences:
        features.append(np.abs(q - t))
    equal = query.ids[:, None] == title.ids[None]  # [query tokens, title tokens, orders]
    in_query, in_title = equal.any(0).astype(float), equal.any(1).astype(float)
    counts = [max(len(side.tokens), 1) for side in (title, query)]
    if student.matched:
        pools = [(title, in_query), (title, 1 - in_query), (query, 1 - in_title)]
        features += [(side.vectors * mask[..., None]).sum((0, 1)) for side, mask in pools]
        features += [in_query.sum(0) / counts[0], in_title.sum(0) / counts[1]]
    kernels = _Kernels(student, sides) if student.kernels else None
    if kernels:
        features.append(kernels.features())

    def shares(gradients: Sequence[np.ndarray]) -> tuple[SoftMatch, ...]:
        query.share(gradients[0])
        rest = list(np.split(gradients[1], np.cumsum([len(one) for one in features])[:-1]))
        title.share(rest.pop(0))
        if config.products:
            worth = rest.pop(0) / 2
            query.share(worth * t)
            title.share(worth * q)
        if config.differences:
            worth = rest.pop(0) * np.sign(q - t)
            query.share(worth)
            title.share(-worth)
        if student.matched:
            for side, mask in pools:
                side.share(rest.pop(0), mask)
            title.values += in_query * rest.pop(0) / counts[0]
            query.values += in_title * rest.pop(0) / counts[1]
        return kernels.matches(rest.pop(0)) if kernels else ()

    assert features[0].shape == (dim,)
    return [q, np.concatenate(features)], shares


class _Kernels:
    """Soft matching of one row: `KernelPooling`, by pairs of tokens."""

    def __init__(self, student: Student, sides: Sequence[_Side]) -> None:
        self.sides = sides
        layer = student.kernels
        assert layer is not None
        query, title = (
            tf.math.l2_normalize(layer.embedding.vectors(layer.embedding.ids(side.hashes))[:, 0], -1, 1e-8).numpy()
            for side in sides
        )
        self.cosine = (query @ title.T).astype(np.float64)
        step = 2.0 / max(layer.kernels - 1, 1)
        centres = np.array([1.0] + [1.0 - step * (k + 0.5) for k in range(layer.kernels - 1)])
        widths = np.array([1e-3] + [step / 2] * (layer.kernels - 1))
        self.near = np.exp(-np.square(self.cosine[..., None] - centres) / (2 * widths**2))  # [query, title, kernels]
        self.counts = self.near.sum(1)
        self.logs = np.log1p(self.counts) / math.log(2)

    def features(self) -> np.ndarray:
        """`[2 * kernels]`, as the layer gives them."""
        total = self.logs.sum(0)
        return np.concatenate([0.1 * total, total / max(len(self.cosine), 1)])

    def matches(self, gradient: np.ndarray) -> tuple[SoftMatch, ...]:
        """What each pair of tokens is worth."""
        whole, mean = np.split(gradient, 2)
        worth = (0.1 * whole + mean / max(len(self.cosine), 1)) * self.logs  # [query, kernels]
        parts = np.divide(self.near, self.counts[:, None], out=np.zeros_like(self.near), where=self.near > 0)
        values = (parts * worth[:, None]).sum(-1)
        words = [[token.decode("utf-8", "replace") for token in side.tokens] for side in self.sides]
        found = [
            SoftMatch(q, t, (words[0][q], words[1][t]), float(self.cosine[q, t]), float(values[q, t]))
            for q, t in np.ndindex(*values.shape)
        ]
        return tuple(sorted(found, key=lambda pair: -abs(pair.value)))


def _head(student: Student, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    """The network on `[n, ...]` inputs: the feed-forward part, and the convolutions where there are any."""
    features = inputs[-1]
    if student.config.convolutions:
        texts = tf.RaggedTensor.from_tensor(tf.zeros(tf.shape(features)[:2], tf.int64))
        features = student.pool.pool(tf.reshape(features, [-1, student.config.dim]), texts)
    hidden = student.first_dense(features)
    if student.query_dense is not None:
        hidden = hidden + student.query_dense(inputs[0])
    for dense in student.denses:
        hidden = dense(student.relu(hidden))
    return hidden


def _integrate(
    student: Student, inputs: Sequence[np.ndarray], target: int, steps: int
) -> tuple[float, list[np.ndarray]]:
    """The logit at zero inputs, and the mean gradients of the inputs on the way from there to where they are."""
    along = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    points = [tf.constant(np.multiply.outer(along, one.astype(np.float32))) for one in inputs]
    with tf.GradientTape() as tape:
        tape.watch(points)
        logits = _head(student, points)[:, target]
    gradients = tape.gradient(logits, points)
    zero = _head(student, [tf.zeros_like(one[:1]) for one in points])
    return float(zero[0, target]), [one.numpy().astype(np.float64).mean(0) for one in gradients]


def orders_of(student: Student) -> tuple[int, ...]:
    """How many tokens the n-grams that are pooled span."""
    return (student.config.window,) if student.config.window else student.config.orders


def _ngrams(student: Student, sides: Sequence[_Side]) -> tuple[NGram, ...]:
    found = []
    for field, side in enumerate(sides):
        others = [other.ids for other in sides if other is not side]
        for place, order in enumerate(orders_of(student)):
            there = set(others[0][:, place].tolist()) if others else set()
            found += [
                NGram(
                    field,
                    at,
                    order,
                    name,
                    int(side.ids[at, place]),
                    float(side.values[at, place]),
                    bool(side.silent[at, place]),
                    int(side.ids[at, place]) in there if others else None,
                )
                for at, name in enumerate(names(side.tokens, order))
            ]
    return tuple(sorted(found, key=lambda one: (one.field, one.start, one.order)))
