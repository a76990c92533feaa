"""Reads misspelt words of a query as words that the transfer set has (docs/hash_spec.md, "Spelling").

A student knows a word by its hash alone, so a misspelt one is a stranger to it, where a teacher's word pieces still say
something. Words that logs often misspell are learnt like any others. This is for the rest: a word of letters that the
transfer set has fewer than MIN_COUNT times is read as the most frequent word there that is one edit away.

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
from tfb2d.students import ngrams
from tfb2d.students.text_spec import MIN_COUNT, token_hash

if TYPE_CHECKING:
    from tfb2d.students.rows import HashedRows

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORTEST, LONGEST = 5, 24  # letters of a word that is corrected; a shorter one has too many words near it
WORD = f"[a-z]{{{SHORTEST},{LONGEST}}}"
SPELLING = (
    "spelling.i64"  # the file of a dictionary: token hashes, the most frequent first, 8 bytes each, little-endian
)


class Dictionary:
    """Holds the words that a student knows.

    Args:
      words: token hashes without affixes, `[n]` int64, the most frequent first. Without any, nothing is corrected.

    Attributes:
      hashes: the same, rising.
      ranks: how many words are more frequent than each of `hashes`, `[n]` int64.
    """

    def __init__(self, words: np.ndarray) -> None:
        self.words = np.asarray(words, np.int64)
        self.ranks = np.argsort(self.words, kind="stable")
        self.hashes = self.words[self.ranks]

    def __len__(self) -> int:
        return len(self.words)

    def save(self, path: Path) -> None:
        """Writes the words."""
        write_atomic(path, self.words.astype("<i8").tobytes())

    @classmethod
    def load(cls, path: Path) -> "Dictionary":
        """Reads what `save` wrote; raises OSError where it cannot, ValueError where the file holds no whole numbers."""
        return cls(np.frombuffer(path.read_bytes(), "<i8"))

    @cached_property
    def _rank_of(self) -> dict[int, int]:
        return {int(word): rank for rank, word in enumerate(self.words)}

    def read(self, token: bytes) -> bytes:
        """Returns the token itself, or the known word as which a query's token is read."""
        if not self.words.size or not re.fullmatch(WORD.encode(), token) or token_hash(token) in self._rank_of:
            return token
        known = ((self._rank_of.get(token_hash(word), len(self)), word) for word in edits(token))
        rank, word = min(known)
        return word if rank < len(self) else token


def learn(rows: "HashedRows") -> Dictionary:
    """Makes the dictionary of a transfer set: the tokens of its hashed rows that occur MIN_COUNT times or more."""
    hashes, counts = ngrams.distinct(rows, 1)
    often = np.flatnonzero(counts >= MIN_COUNT)
    return Dictionary(hashes[often[np.argsort(-counts[often], kind="stable")]])


def edits(word: bytes) -> Iterator[bytes]:
    """Yields all words one edit away: a letter added, replaced or left out, or two changed over; never the first one."""
    for at in range(1, len(word) + 1):
        head, tail, after = word[:at], word[at:], word[at + 1 :]
        for letter in LETTERS.encode():
            yield b"%s%c%s" % (head, letter, tail)
            yield b"%s%c%s" % (head, letter, after)
        yield head + after
        yield head + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
