"""Says which texts are near: the same numbers and signs, and nearly the same words, field by field.

MinHash finds the candidates (Broder 1997; datasketch computes it). Texts share a band of minima, and so become candidates,
with a chance of `1 - (1 - J^r)^b`, where J is the Jaccard similarity of their words. Each candidate is then compared word
by word, so what is called near is near. What is missed is at most MISSED of the pairs at the threshold, fewer above.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress, pairwise

import numpy as np
import pyarrow as pa

from tfb2d.data.keys import BETWEEN, hash64

MINIMA = 64  # the most that are computed of a text
MISSED = 0.01  # chance to miss a pair whose similarity is the threshold
SHORT = 2  # letters of a word that is compared like a number: sizes (S, XL), model codes (X, SE), Roman numerals (II)
PAIRS = 32_768  # that are compared at once; bounds memory
_SCHEME = "affine32"  # of datasketch, by name: its default may change, and with it which pairs are missed
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_FIELD = 0x9E3779B1  # times a field's number, so that a word counts in its own field alone


def bands(threshold: float) -> tuple[int, int]:
    """Returns how many bands to take of how many minima each: the most selective ones that miss at most MISSED."""
    for rows in range(MINIMA, 1, -1):
        shared = threshold**rows
        count = 1 if shared == 1 else math.ceil(math.log(MISSED) / math.log1p(-shared)) if shared else MINIMA + 1
        if count * rows <= MINIMA:
            return count, rows
    return MINIMA, 1


@lru_cache(1 << 16)
def _word(word: str) -> tuple[int, bool]:
    """Returns a word's 32-bit hash, and whether near texts must both have it."""
    exact = len(word) <= SHORT or any(unicodedata.category(character)[0] not in "LM" for character in word)
    return hash64(word) & 0xFFFFFFFF, exact


def word_sets(near_key: str) -> tuple[list[list[int]], int]:
    """Returns the words of each field as 32-bit hashes, and a hash of those that near texts must share.

    These are the words that hold anything but letters ("15", "1.5", "a515f", "c#", "%"), and the short ones.

    Args:
      near_key: of the fields, see `data.keys.both_keys`.
    """
    sets, exact = [], []
    for field in near_key.split(BETWEEN):
        words = field.split(" ") if field else []
        known = list(map(_word, words))
        sets.append([number for number, _ in known])
        exact.append(" ".join(compress(words, (whole for _, whole in known))))
    return sets, hash64(BETWEEN.join(exact))


def band_keys(sets: Sequence[pa.ListArray], exact: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the keys by which near texts find each other.

    Args:
      sets: a list of uint32 word hashes a text, for each field.
      exact: uint64 `[n]`, see `word_sets`.
      threshold: the least similarity.

    Returns:
      uint64 `[n, bands]`. Near texts share a key with a chance of at least 1 - MISSED.
    """
    from datasketch import MinHash

    count, rows = bands(threshold)
    sketch = MinHash(count * rows, scheme=_SCHEME, hashfunc=int)
    minima = np.empty((len(exact), count * rows), np.uint32)
    for row, fields in enumerate(zip(*(_tagged(column, field) for field, column in enumerate(sets)), strict=True)):
        sketch.clear()
        sketch.update_batch([word for words in fields for word in words])
        minima[row] = sketch.hashvalues
    keys = exact[:, None] + np.arange(count, dtype=np.uint64)
    for column in np.moveaxis(minima.reshape(len(exact), count, rows), 2, 0):
        keys = (keys ^ column) * _FACTOR
        keys ^= keys >> np.uint64(32)
    return keys * _FACTOR


def _tagged(column: pa.ListArray, field: int) -> Iterator[list[int]]:
    """Yields the hashes of each text's field, changed by the field's number."""
    values = (column.flatten().to_numpy() + np.uint32(field * _FIELD % 2**32)).tolist()
    ends = np.cumsum(column.value_lengths().to_numpy()).tolist()
    return (values[begin:end] for begin, end in pairwise([0, *ends]))


def are_near(
    left: Sequence[pa.ListArray], i: np.ndarray, right: Sequence[pa.ListArray], j: np.ndarray, threshold: float
) -> np.ndarray:
    """Compares pairs of texts whose exact words are the same.

    Args:
      left, right: word hashes a text, for each field; the words of a text differ from each other.
      i, j: the pairs, `[p]` each.
      threshold: the least Jaccard similarity, in each field. Two blank fields are alike.

    Returns:
      bool `[p]`.
    """
    near = np.ones(len(i), bool)
    for own, other in zip(left, right, strict=True):
        a, b = own.take(pa.array(i)), other.take(pa.array(j))
        both = np.sort(np.concatenate([_numbered(a), _numbered(b)]))
        shared = np.bincount((both[1:][both[1:] == both[:-1]] >> np.uint64(32)).astype(np.int64), minlength=len(i))
        lengths = a.value_lengths().to_numpy() + b.value_lengths().to_numpy()
        near &= shared >= threshold * (lengths - shared) - 1e-9
    return near


def _numbered(column: pa.ListArray) -> np.ndarray:
    """Returns the hashes of all lists, each behind the number of its list."""
    numbers = np.repeat(np.arange(len(column), dtype=np.uint64), column.value_lengths().to_numpy())
    return numbers << np.uint64(32) | column.flatten().to_numpy().astype(np.uint64)


def any_near(
    left: Sequence[pa.ListArray],
    right: Sequence[pa.ListArray],
    place: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Says which texts are near one of their candidates. A text that has found one is not compared any more.

    Args:
      left, right, threshold: see `are_near`.
      place: `[m]` row of `right` by the candidate's number.
      first, count: `[n]` number of a text's first candidate, and how many there are in a row.

    Returns:
      bool `[n]`.
    """
    matched = np.zeros(len(first), bool)
    todo = np.flatnonzero(count)
    step = 0
    while len(todo):
        blocks = np.split(todo, range(PAIRS, len(todo), PAIRS))
        near = np.concatenate([are_near(left, i, right, place[first[i] + step], threshold) for i in blocks])
        matched[todo[near]] = True
        step += 1
        todo = todo[~near & (count[todo] > step)]
    return matched
