"""Keys that say when two texts are the same, their 64-bit hashes, and a compact set of such hashes."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

BETWEEN = "\0"  # between fields in a key; no text holds it, since rows with NUL bytes are rejected

_PUNCTUATION = re.compile(r"′′|[.,:/⁄<>=#−–'’′\"”-]")  # what may distinguish numbers or names
_PRIVATE = 0xE000  # where it does, it becomes a private-use character, which is kept when punctuation is dropped
_UNIFORM = {
    "⁄": "/",
    "−": "-",
    "–": "-",
    "’": "'",
    "′": "'",
    "”": '"',
    "′′": '"',
}  # as NFKC writes ½ and ″, and what people type
_GRADE = re.compile(r"(?<![^\W_])[^\W_]{1,2}$")  # a word so short that a minus after it may be a grade or a blood group
_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215f\u2189])")  # NFKC would make 11/2 of 1½
_POWER = re.compile(r"(?<=\d)(?=[\u00b2\u00b3\u00b9\u2070-\u207b])")  # ... and 102 of 10²
_EXPONENT = re.compile(r"\de$")
_POINT = chr(_PRIVATE + ord("."))
_NO_GAP = re.compile(rf" (?:(?<!\d )|(?![\d{_POINT}]))")  # a space that does not part two numbers


class _Spaced(dict[int, int]):
    """A table for str.translate, filled on use: letters, marks, numbers, pictographs and signs stay, others become spaces.

    Signs are currencies, "%" and mathematical symbols, except those that are mostly decoration.
    """

    def __missing__(self, code: int) -> int:
        category = unicodedata.category(chr(code))
        dropped = category[0] in "PZ" or category in ("Cc", "Cf", "Sk") or chr(code) in "<>=|~¬⁄"
        self[code] = 32 if dropped and chr(code) != "%" else code
        return self[code]


class _Plain(dict[int, int | None]):
    """A table for str.translate, filled on use: takes out signs, private-use characters and spaces."""

    def __missing__(self, code: int) -> int | None:
        sign = unicodedata.category(chr(code)) in ("Sc", "Sm", "Co", "Zs") or chr(code) == "%"
        self[code] = None if sign else code
        return self[code]


_SPACED, _PLAIN = _Spaced(), _Plain()


def _protect(match: re.Match[str]) -> str:
    """Protects punctuation that belongs to a number or a name.

    Of numbers: 1.5 1,5 1/2 3:10 5-10; .5; -5 -$5 - 5; 5e-3; 5' 5"; 5 < 6. Of names: C#, #1, A-, .NET.
    """
    sign, text, at = match[0], match.string, match.start()
    before, after = text[at - 1] if at else "", text[match.end() : match.end() + 4]
    begins = not before or before.isspace() or before in "([{/:=,;<>\"'^"
    uniform = _UNIFORM.get(sign, sign)
    if sign in "<>=":
        kept = after.lstrip(" -.")[:1].isdecimal()
    elif sign == "#":
        kept = before.isalnum() or after[:1].isdecimal()
    elif uniform in "'\"":
        kept = before.isdecimal() and not after[:1].isalpha()  # feet and inches; not 1990's
    elif uniform == "-":
        kept = _is_minus(text, at, begins, after)
    else:
        kept = after[:1].isdecimal() and (before.isdecimal() or (begins and sign == "."))
        kept = kept or (sign == "." and begins and after[:1].isalpha())
    return chr(_PRIVATE + ord(uniform)) if kept else sign


def _is_minus(text: str, at: int, begins: bool, after: str) -> bool:
    """Says whether a hyphen is a minus or parts two numbers; dashes and hyphens of words are neither."""
    if after.lstrip(".$€£¥")[:1].isdecimal() and (begins or text[at - 1].isdecimal()):
        return True
    before = text[max(0, at - 3) : at]
    if after[:1].isdecimal() and _EXPONENT.search(before):
        return True
    if after[:1].isspace():
        opens = before.rstrip()[-1:] in ("", *"([{/:=,;<>") and (at < 3 or bool(before.strip()))
        if opens and after.lstrip(" .$€£¥")[:1].isdecimal():
            return True
    return not after[:1].isalnum() and bool(_GRADE.search(before))


def _words(text: str) -> list[str]:
    """Returns a text's words, case-folded. A text of punctuation alone is a single word."""
    if text.isascii():
        folded = text.lower()
    else:
        spaced = _POWER.sub("^", _FRACTION.sub(" ", text))
        folded = unicodedata.normalize("NFKC", spaced).casefold()
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
    """Returns the same string for all texts that differ only in case, Unicode form (NFKC), punctuation and spacing.

    Letters, marks, numbers, signs and pictographs count. So does punctuation that distinguishes numbers and names: "1.5 mm"
    is not "15 mm", "1/2 inch" not "1 2 inch", "-5" not "5", "C#" not "C++", "A-" not "A", 5 feet
    not 5 inches. A text of punctuation alone keeps it. Where a field ends counts too: ("ab", "c") and ("a", "bc") differ.
    """
    return BETWEEN.join([_key(_words(field)) for field in fields])


def cut_key(*fields: str) -> str:
    """Returns a coarser `text_key`, without any sign or punctuation; it decides which split a text belongs to.

    Texts with the same `text_key` have the same cut key. Earlier versions had this key alone: splits stay as they cut them.
    """
    return BETWEEN.join([key.translate(_PLAIN) or key for key in (_key(_words(field)) for field in fields)])


def near_key(*fields: str) -> str:
    """Returns the same string for all texts with the same set of words: a cheap test for near-duplicates.

    It catches reordered and repeated words, but no changed ones. Words must have spaces between them.
    """
    return both_keys(fields)[1]


def hash64(text: str) -> int:
    """Returns the first 64 bits of BLAKE2b of the text's UTF-8 bytes, unsigned."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def text_hashes(rows: Iterable[Sequence[str]]) -> np.ndarray:
    """Returns `hash64` of each row's exact texts, uint64 [n]."""
    return np.fromiter((hash64(BETWEEN.join(texts)) for texts in rows), np.uint64)


def look_up(hashes: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Looks hashes, uint64 [n], up in a rising array, uint64 [m].

    Returns indices in `known`, int64 [n], and whether the hash is there, bool [n]. An index means nothing where it is
    not.
    """
    if not len(known):
        return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), bool)
    indices = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return indices, known[indices] == hashes


class HashSet:
    """A set of 64-bit hashes that only grows. It takes 8 bytes a hash, and up to 16 while two of its arrays are merged.

    It keeps sorted arrays of growing size, as a log-structured merge tree does. A new array is merged with the last one
    unless that is more than twice its size, so there are about log2(n) arrays. A billion rows take 8 GB. The chance that
    any two of n different texts share a hash is n^2 / 2^65: 3% at a billion.
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
            new &= ~look_up(values, known)[1]
        mask = np.zeros(len(hashes), bool)
        mask[first[new]] = True
        if new.any():
            merged = values[new]
            while self._sorted and len(self._sorted[-1]) <= 2 * len(merged):
                merged = np.sort(np.concatenate([self._sorted.pop(), merged]), kind="stable")
            self._sorted.append(merged)
        return mask
