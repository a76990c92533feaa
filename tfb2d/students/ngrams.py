"""Counts n-grams, and names them.

A table row keeps 31 bits of an n-gram at most, a key (`text_spec.ngram_keys`) all 64. Counting needs the keys: which
n-grams a text has, how often another text had them, and how many of them share a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.students import text_spec

if TYPE_CHECKING:
    from tfb2d.students.rows import HashedRows, TrainingRows

END_MARK = "⊣"  # how the mark after a text's last token is shown
TOKENS = 2**21  # tokens of hashed rows that are counted at once; bounds memory


def names(tokens: Sequence[bytes], order: int) -> list[str]:
    """Returns the n-grams of one text that begin at each token, as people read them; ⊣ marks the end."""
    words = [token.decode("utf-8", "replace") for token in tokens]
    return [
        " ".join(words[at : at + order] + [END_MARK] * (at + order > len(words) and order > 1))
        for at in range(len(words))
    ]


def chunks(
    rows: "HashedRows | TrainingRows", index: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields token hashes and splits of rows, or of those with an `index`, all fields, in parts of about TOKENS tokens."""
    chosen = rows.index if index is None else index
    for values, splits in rows.fields:
        lengths = np.diff(splits)[chosen]
        groups = np.cumsum(lengths) // TOKENS
        for group in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(groups)) + 1):
            yield take(values, splits, chosen[group])


def take(values: np.ndarray, splits: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the token hashes `[tokens]` of some rows, in any order, and their splits `[len(index) + 1]`, both int64."""
    starts = splits[index]
    lengths = splits[index + 1] - starts
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.asarray(values[np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)]), ends


def distinct(
    rows: "HashedRows | TrainingRows", order: int, index: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the distinct n-grams of one order: their keys, rising, and how often each occurs (both `[distinct]` int64)."""
    return counted(text_spec.ngram_keys(hashes, (order,), splits) for hashes, splits in chunks(rows, index))


def counted(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Counts the keys of all parts, int64 of any shape; returns what `distinct` does."""
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part in parts:
        new_keys, new_counts = np.unique(part, return_counts=True)
        keys, position = np.unique(np.concatenate([keys, new_keys]), return_inverse=True)
        counts = np.bincount(position.ravel(), np.concatenate([counts, new_counts])).astype(np.int64)
    return keys, counts
