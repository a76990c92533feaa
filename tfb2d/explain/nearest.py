"""Finds the nearest n-grams of an n-gram, by the cosine of their table rows.

Hashing is one way: a row does not know its n-grams. So the candidates are n-grams of texts that the user names. Where
several of them fall into one row they share its vector, and are counted as collisions.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.errors import DataError
from tfb2d.students import text_spec

if TYPE_CHECKING:
    from tfb2d.students.model import Student

MAX_CANDIDATES = 2_000_000
NO_ROW = -1
Key = tuple[bytes, ...]


@dataclass(frozen=True)
class Candidates:
    """N-grams of texts, `[n]` each: names as people read them, tokens, occurrences, and rows of the table."""

    names: list[str]
    orders: np.ndarray
    counts: np.ndarray
    rows: np.ndarray

    def collisions(self) -> dict[str, float | int]:
        """Counts the n-grams that share their row with another: a share of all n-grams, and one weighted by frequency."""
        _, position, sharing = np.unique(self.rows, return_inverse=True, return_counts=True)
        shared = sharing[position.ravel()] > 1
        return {
            "ngrams": len(self.names),
            "rows": len(sharing),
            "share": float(shared.mean()),
            "weighted": float(self.counts[shared].sum() / max(self.counts.sum(), 1)),
        }


def candidates(student: "Student", texts: Iterable[str], min_count: int = 2) -> Candidates:
    """Counts the whole n-grams of texts, of the student's orders; rarer ones than `min_count` are left out.

    Of a student with a window, which composes n-grams, the candidates are single tokens at an n-gram's first place; with a
    vocabulary, those that have rows of their own. Rows for affixes are left out. Raises DataError where nothing is left.
    """
    counts: Counter[Key] = Counter()
    for text in texts:
        tokens = text_spec.tokens(text, student.config.max_tokens)
        for order in row_orders(student):
            counts.update(tuple(tokens[at : at + order]) for at in range(len(tokens) - order + 1))
        if len(counts) > MAX_CANDIDATES:  # the rarest so far are dropped; a count may then be too low, never too high
            least = 1
            while len(counts) > MAX_CANDIDATES // 2:  # so that this does not happen again at the next text
                least += 1
                counts = Counter({key: count for key, count in counts.items() if count >= least})
    kept = [(key, count) for key, count in counts.items() if count >= min_count]
    rows = _rows(student, [key for key, _ in kept])
    kept, rows = [pair for pair, row in zip(kept, rows, strict=True) if row != NO_ROW], rows[rows != NO_ROW]
    if not kept:
        raise DataError(f"the files have no n-gram that occurs {min_count} times; --min_count takes less")
    return Candidates(
        [b" ".join(key).decode("utf-8", "replace") for key, _ in kept],
        np.array([len(key) for key, _ in kept]),
        np.array([count for _, count in kept]),
        rows,
    )


def _rows(student: "Student", keys: Sequence[Key]) -> np.ndarray:
    """Returns the table rows `[n]` int64 of n-grams; NO_ROW for a token that a vocabulary lacks."""
    rows = np.zeros(len(keys), np.int64)
    for order in row_orders(student):
        which = [at for at, key in enumerate(keys) if len(key) == order]
        flat = [text_spec.token_hash(token, student.config.affixes) for at in which for token in keys[at]]
        splits = np.arange(len(which) + 1, dtype=np.int64) * order
        if which:
            first = text_spec.ngram_keys(np.array(flat, np.int64), (order,), splits)[::order, 0]
            rows[which] = student.ngrams.rows_of(first)
    if student.config.vocabulary:
        rows[rows == text_spec.UNKNOWN_SLOT * student.config.window] = NO_ROW
    return rows


@dataclass(frozen=True)
class Neighbours:
    """Holds an n-gram with its nearest n-grams."""

    name: str  # of the n-gram
    count: int  # how often the texts have it
    norm: float  # of its row; 0 where training never met it, and it has no neighbours
    sharing: tuple[tuple[str, int], ...]  # other candidates in the same row, the most frequent first
    # (name, cosine, count, candidates sharing that row), nearest first. Each row is there once; zero rows are left out.
    nearest: tuple[tuple[str, float, int, int], ...]


def nearest(student: "Student", among: Candidates, ngram: str, top: int = 10) -> Neighbours:
    """Returns the candidates with the largest cosine to an n-gram; raises DataError where it has no rows."""
    tokens = tuple(text_spec.tokens(ngram, student.config.max_tokens))
    if len(tokens) not in row_orders(student):
        orders = ", ".join(map(str, row_orders(student)))
        raise DataError(f"{ngram!r} is {len(tokens)} tokens; this student has n-grams of {orders}")
    (row,) = _rows(student, [tokens])
    if row == NO_ROW:
        hint = "its affixes alone tell it, and have no neighbours here"
        raise DataError(f"{ngram!r} is not in the student's vocabulary; {hint}")
    rows = np.unique(among.rows)
    # Of candidates in one row the most frequent stands for it.
    order = np.lexsort((-among.counts, among.rows))
    first = order[np.searchsorted(among.rows[order], rows)]
    vectors = np.asarray(student.ngrams.vectors(rows.astype(np.int32)), np.float32)
    own = np.asarray(student.ngrams.vectors(np.array([row], np.int32)), np.float32)[0]
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
    cosines = np.divide(vectors @ own, norms, out=np.full(len(rows), -np.inf, np.float32), where=norms > 0)
    sharing = np.bincount(np.searchsorted(rows, among.rows), minlength=len(rows))
    cosines[rows == row] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:top]
    same = np.flatnonzero(among.rows == row).tolist()
    name = b" ".join(tokens).decode("utf-8", "replace")
    counts = {among.names[at]: int(among.counts[at]) for at in same if among.orders[at] == len(tokens)}
    others = [(among.names[at], int(among.counts[at])) for at in same if among.names[at] != name]
    closest = tuple(
        (among.names[first[at]], float(cosines[at]), int(among.counts[first[at]]), int(sharing[at]))
        for at in best
        if np.isfinite(cosines[at])
    )
    others.sort(key=lambda named: -named[1])
    return Neighbours(name, counts.get(name, 0), float(np.linalg.norm(own)), tuple(others), closest)


def row_orders(student: "Student") -> tuple[int, ...]:
    """Returns the orders of n-grams that have rows of their own; (1,) for a student with a window."""
    return (1,) if student.config.window else student.config.orders
