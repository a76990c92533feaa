"""Reads misspelt words of a query as words that the transfer set has (docs/hash_spec.md, "Spelling").

A student knows a word by its hash alone, so a misspelt one is a stranger to it, where a teacher's word pieces still say
something. A slip that many queries of the logs share is learnt as any word is. This is for the others: a word of letters
that occurs fewer than MIN_COUNT times in the transfer set's different texts is read as the most frequent word there that is
one edit away. Serving reads queries so, and validation and test rows are hashed so. Students train on texts as typed.

No string is stored: known words are their hashes. All words one edit away from an unknown one are hashed and looked up,
about 500 for nine letters. A query of known words costs one binary search a token.

Reference: the candidates are those of Norvig, How to Write a Spelling Corrector (https://norvig.com/spell-correct.html),
without edits of the first letter, which is seldom wrong.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfb2d.atomic import write_atomic
from tfb2d.errors import DataError
from tfb2d.students import ngrams
from tfb2d.students.text_spec import MIN_COUNT, token_hash

if TYPE_CHECKING:
    from tfb2d.students.rows import HashedRows

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORTEST, LONGEST = 5, 24  # letters of a word that is corrected; a shorter one has too many words near it
WORD = f"[a-z]{{{SHORTEST},{LONGEST}}}"
SPELLING = "spelling.i64"  # a dictionary's file: token hashes, the most frequent first, 8 bytes each, little-endian


class Dictionary:
    """Holds the words that a student knows.

    Args:
      known: their hashes without affixes, `[n]` int64, the most frequent first. Without any, nothing is corrected.

    Attributes:
      hashes: the same, rising.
      ranks: how many words are more frequent than each of `hashes`, `[n]` int64.
    """

    def __init__(self, known: np.ndarray) -> None:
        self.known = np.asarray(known, np.int64)
        self.ranks = np.argsort(self.known, kind="stable")
        self.hashes = self.known[self.ranks]

    def __len__(self) -> int:
        return len(self.known)

    def save(self, path: Path) -> None:
        """Writes the known words."""
        write_atomic(path, self.known.astype("<i8").tobytes())

    @classmethod
    def load(cls, path: Path) -> "Dictionary":
        """Reads what `save` wrote; raises DataError where the file cannot be read, or is no list of hashes."""
        try:
            return cls(np.frombuffer(path.read_bytes(), "<i8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}, the words that a student knows, cannot be read: {error}") from None

    @cached_property
    def _rank_of(self) -> dict[int, int]:
        return dict(zip(self.known[::-1].tolist(), range(len(self) - 1, -1, -1), strict=True))

    def read(self, token: bytes) -> bytes:
        """Returns the token itself, or the known word as which a query's token is read."""
        if not len(self) or not re.fullmatch(WORD.encode(), token) or token_hash(token) in self._rank_of:
            return token
        rank, word = min((self._rank_of.get(token_hash(word), len(self)), word) for word in edits(token))
        return word if rank < len(self) else token


def learn(rows: "HashedRows") -> Dictionary:
    """Makes the dictionary of a transfer set's hashed rows: tokens that occur MIN_COUNT times in its different texts.

    Rows repeat a query with each of its titles, and its slips with it. So equal texts count once.
    """

    def of_new_texts() -> Iterator[np.ndarray]:
        met = np.zeros(0, np.int64)
        for hashes, splits in ngrams.chunks(rows):
            texts, first = np.unique(_text_keys(hashes, splits), return_index=True)
            yield ngrams.take(hashes, splits, first[np.isin(texts, met, invert=True)])[0]
            met = np.union1d(met, texts)

    hashes, counts = ngrams.counted(of_new_texts())
    often = np.flatnonzero(counts >= MIN_COUNT)
    return Dictionary(hashes[often[np.argsort(-counts[often], kind="stable")]])


def _text_keys(hashes: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Returns a number for each text, `[texts]` int64, that depends on its tokens and their order; 0 without tokens."""
    position = np.arange(len(hashes)) - np.repeat(splits[:-1], np.diff(splits))
    return np.diff(np.concatenate([[0], np.cumsum(hashes * (2 * position + 1))])[splits])


def edits(word: bytes) -> Iterator[bytes]:
    """Yields all words one edit away: a letter added, replaced or left out, or two neighbours swapped; not the first."""
    for at in range(1, len(word) + 1):
        head, tail, after = word[:at], word[at:], word[at + 1 :]
        for letter in LETTERS.encode():
            yield b"%s%c%s" % (head, letter, tail)
            yield b"%s%c%s" % (head, letter, after)
        yield head + after
        yield head + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
