"""N-grams as such: 64-bit keys that tell n-grams apart where the rows of a table fall together.

A row number keeps 31 bits of an n-gram at most; a key keeps all 64. Counting needs the keys: which n-grams a text has,
how often another text had them, and how many of them share a row.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.students import text_spec

if TYPE_CHECKING:
    from tfb2d.students.rows import HashedRows, TrainingRows

END_MARK = "⊣"  # how the mark behind a text's last token is shown
TOKENS = 2**21  # of hashed rows, taken at once


def keys(hashes: np.ndarray, orders: Sequence[int], row_splits: np.ndarray | None = None) -> np.ndarray:
    """Keys of the n-grams that begin at each token; arguments as of `text_spec.ngram_ids`.

    Returns:
      `[tokens, len(orders)]` int64.
    """
    last = slice(-1, None) if row_splits is None else row_splits[1:][np.diff(row_splits) > 0] - 1
    chained = hashes
    chains = {1: chained}
    for order in range(2, max(orders) + 1):
        following = np.empty_like(hashes)
        following[:-1] = chained[1:]
        following[last] = text_spec.END
        chained = hashes ^ following * text_spec.chain(order)
        chains[order] = chained
    return np.stack([chains[order] for order in orders], 1)


def rows_of(found: np.ndarray, buckets: int) -> np.ndarray:
    """The table rows of keys: int32 of the same shape, equal to `text_spec.ngram_ids` of their n-grams."""
    return (found * text_spec.MIX >> 32).astype(np.int32) % np.int32(buckets)


def names(tokens: Sequence[bytes], order: int) -> list[str]:
    """The n-grams of one text that begin at each token, as people read them; the mark behind the last token is ⊣."""
    words = [token.decode("utf-8", "replace") for token in tokens]
    return [
        " ".join(words[at : at + order] + [END_MARK] * (at + order > len(words) and order > 1))
        for at in range(len(words))
    ]


def chunks(
    rows: "HashedRows | TrainingRows", index: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields token hashes and splits of hashed rows, all fields, in parts of about TOKENS tokens.

    Args:
      rows: hashed rows, or some of them.
      index: rising numbers of the hashed rows; None takes all of `rows`.
    """
    chosen = rows.index if index is None else index
    for values, splits in rows.fields:
        lengths = np.diff(splits)[chosen]
        groups = np.cumsum(lengths) // TOKENS
        for group in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(groups)) + 1):
            size = lengths[group]
            ends = np.concatenate([[0], np.cumsum(size)])
            flat = np.arange(ends[-1]) + np.repeat(splits[chosen[group]] - ends[:-1], size)
            yield np.asarray(values[flat]), ends


def distinct(
    rows: "HashedRows | TrainingRows", order: int, index: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The distinct n-grams of one order: their keys, rising, and how often each occurs (both `[distinct]` int64)."""
    found, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for hashes, splits in chunks(rows, index):
        more, times = np.unique(keys(hashes, (order,), splits)[:, 0], return_counts=True)
        together, place = np.unique(np.concatenate([found, more]), return_inverse=True)
        counts = np.bincount(place.ravel(), np.concatenate([counts, times])).astype(np.int64)
        found = together
    return found, counts
