"""What makes two texts the same, as strings and as 64-bit hashes, and a compact set of such hashes."""

import unicodedata
from hashlib import blake2b

import numpy as np

BETWEEN = "\0"  # parts fields in a key; no text holds it, since rows with NUL bytes are set apart


class _Kept(dict[int, int | None]):
    """Characters that a key keeps, for str.translate: letters, marks, numbers, pictures; found out on first use."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        dropped = category[0] in "PZ" or category in ("Cc", "Cf", "Sc", "Sk", "Sm")
        self[code] = None if dropped else code
        return self[code]


class _Words(_Kept):
    """The same, with a space where a character is dropped."""

    def __missing__(self, code: int) -> int | None:
        kept = _KEPT[code]
        self[code] = 32 if kept is None else kept
        return self[code]


_KEPT = _Kept()
_WORDS = _Words()


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _key(text: str) -> str:
    folded = _folded(text)
    key = folded.translate(_KEPT)
    if not key:  # nothing but punctuation: that is its content
        return "".join(folded.split())
    return key if key.isascii() else unicodedata.normalize("NFKC", key)


def text_key(*fields: str) -> str:
    """One string for all texts that are the same up to case, Unicode form (NFKC), punctuation and spacing.

    Letters, marks, numbers and pictographs stay; a text of nothing but punctuation keeps that. The fields of a pair
    are kept apart, so ("ab", "c") and ("a", "bc") differ.
    """
    return BETWEEN.join(map(_key, fields))


def near_key(*fields: str) -> str:
    """One string for all texts with the same set of words: a cheap test for near-duplicates.

    It catches reordered and stuttered text; it does not catch changed words, and words must be spaced.
    """
    return BETWEEN.join(" ".join(sorted(set(_folded(f).translate(_WORDS).split()))) or _key(f) for f in fields)


def hash64(text: str) -> int:
    """The first 64 bits of BLAKE2b of the text's UTF-8 bytes, unsigned."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class HashSet:
    """A set of 64-bit hashes that only grows: 8 bytes a hash, up to 16 while two of its arrays are merged.

    Sorted arrays of growing size, as in a log-structured merge tree: a new array is merged with the last one while that
    is not larger than twice its size, so there are about log2(n) of them. A billion rows take 8 GB; the chance that any
    two of n different texts share a hash is n^2 / 2^65 (3% at a billion).
    """

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._sorted))

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Adds hashes (uint64 [n]); returns bool [n], True where a hash is there for the first time."""
        values, first = np.unique(hashes, return_index=True)
        new = np.ones(len(values), bool)
        for known in self._sorted:
            at = np.minimum(np.searchsorted(known, values), len(known) - 1)
            new &= known[at] != values
        mask = np.zeros(len(hashes), bool)
        mask[first[new]] = True
        if new.any():
            merged = values[new]
            while self._sorted and len(self._sorted[-1]) <= 2 * len(merged):
                merged = np.sort(np.concatenate([self._sorted.pop(), merged]), kind="stable")
            self._sorted.append(merged)
        return mask
