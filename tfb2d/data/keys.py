"""Says when two texts are the same, by strings and by 64-bit hashes; holds a compact set of such hashes."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

BETWEEN = "\0"  # between fields in a key; no text holds it, since rows with NUL bytes are rejected


_PUNCTUATION = re.compile(r"[.,:/⁄<>=#−-]")  # what may tell numbers or names apart
_PRIVATE = 0xE000  # where it does, it becomes a character for private use, which outlasts all other punctuation
_UNIFORM = {"⁄": "/", "−": "-"}  # as NFKC writes ½, and the true minus
_POINT = chr(_PRIVATE + ord("."))
_NO_GAP = re.compile(rf" (?:(?<!\d )|(?![\d{_POINT}]))")  # a space that does not part two numbers


class _Spaced(dict[int, int]):
    """For str.translate: letters, marks, numbers, pictographs and signs stay, the rest becomes a space; filled on use.

    Signs are currencies, "%" and mathematical symbols, but for those that are mostly decoration.
    """

    def __missing__(self, code: int) -> int:
        category = unicodedata.category(chr(code))
        dropped = category[0] in "PZ" or category in ("Cc", "Cf", "Sk") or chr(code) in "<>=|~¬⁄"
        self[code] = 32 if dropped and chr(code) != "%" else code
        return self[code]


class _Plain(dict[int, int | None]):
    """For str.translate: takes out signs, private characters and spaces."""

    def __missing__(self, code: int) -> int | None:
        sign = unicodedata.category(chr(code)) in ("Sc", "Sm", "Co", "Zs") or chr(code) == "%"
        self[code] = None if sign else code
        return self[code]


_SPACED, _PLAIN = _Spaced(), _Plain()


def _protect(match: re.Match[str]) -> str:
    """Keeps punctuation by what stands beside it: 1.5 1,5 1/2 3:10; .5; -5 -$5; 5 < 6; C#, #1."""
    sign, text, at = match[0], match.string, match.start()
    before, after = text[at - 1] if at else "", text[at + 1 : at + 5]
    begins = not before or before.isspace() or before in "([{/:=,;<>\"'"
    if sign in "<>=":
        kept = after.lstrip(" -.")[:1].isdecimal()
    elif sign == "#":
        kept = before.isalnum() or after[:1].isdecimal()
    elif sign in "-−":
        kept = begins and after.lstrip(".$€£¥")[:1].isdecimal()
    else:
        kept = after[:1].isdecimal() and (before.isdecimal() or (begins and sign == "."))
    return chr(_PRIVATE + ord(_UNIFORM.get(sign, sign))) if kept else sign


def _words(text: str) -> list[str]:
    """Returns a text's words, folded. A text of nothing but punctuation is a single word: that is its content."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    folded = _PUNCTUATION.sub(_protect, folded)
    return folded.translate(_SPACED).split() or ["".join(folded.split())]


def _key(words: list[str]) -> str:
    """Returns words without spaces, except between numbers."""
    key = _NO_GAP.sub("", " ".join(words))
    return key if key.isascii() else unicodedata.normalize("NFKC", key)


def both_keys(fields: Sequence[str]) -> tuple[str, str]:
    """Returns `text_key` and `near_key` of the same fields, in little more than the time of either."""
    words = [_words(field) for field in fields]
    near = BETWEEN.join([" ".join(sorted(set(field))) for field in words])
    return BETWEEN.join(map(_key, words)), near


def text_key(*fields: str) -> str:
    """Returns one string for all texts that are the same up to case, Unicode form (NFKC), plain punctuation and spacing.

    Letters, marks, numbers, signs and pictographs stay, and so does punctuation that tells numbers and names apart:
    "1.5 mm" is not "15 mm", "1/2 inch" not "1 2 inch", "-5" not "5", "C#" not "C++". A text of nothing but punctuation
    keeps that. The fields of a pair are kept apart, so ("ab", "c") and ("a", "bc") differ.
    """
    return BETWEEN.join([_key(_words(field)) for field in fields])


def cut_key(*fields: str) -> str:
    """Returns a coarser `text_key`, without any sign or punctuation, which decides into which split a text falls.

    Texts of one `text_key` have one cut key; so splits are where they were before signs counted.
    """
    return BETWEEN.join([key.translate(_PLAIN) or key for key in (_key(_words(field)) for field in fields)])


def near_key(*fields: str) -> str:
    """Returns one string for all texts with the same set of words: a cheap test for near-duplicates.

    It catches reordered and stuttered text; it does not catch changed words, and words must be spaced.
    """
    return both_keys(fields)[1]


def hash64(text: str) -> int:
    """Returns the first 64 bits of BLAKE2b of the text's UTF-8 bytes, unsigned."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def text_hashes(rows: Iterable[Sequence[str]]) -> np.ndarray:
    """Returns `hash64` of each row's exact texts, uint64 [n]."""
    return np.fromiter((hash64(BETWEEN.join(texts)) for texts in rows), np.uint64)


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
