"""Makes new texts of parts of old ones, for a model that is fast enough to label them by the million.

A student of n-grams learns what each of them adds, and does so better where they meet in new company. So clauses are cut
out of texts, and texts are joined where they share two words. Words are what spaces separate.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np

SAMPLE = 500_000  # texts that parts are taken from; about 40 bytes of memory a word
TRIES = 20  # draws for each text that is wanted, before it is left unmade
SHORTEST, LONGEST = 2, 45  # words of a text that is made

_PUNCTUATION = ",;:-()"  # a clause ends after a word that ends so


class Recombiner:
    """Makes texts of parts of texts. What it makes depends on these and the seed alone.

    Args:
      texts: to take parts of.
      conjunctions: words, in lower case, at which a clause begins.
      seed: of the draws.
    """

    def __init__(self, texts: Sequence[str], conjunctions: Sequence[str], seed: int) -> None:
        same: dict[str, str] = {}  # a string for each distinct word, and not for each word
        self._texts = [
            [same.setdefault(word, word) for word in words] for text in texts if len(words := text.split()) > 1
        ]
        self._conjunctions = frozenset(conjunctions)
        self._draw = random.Random(seed)

    def clauses(self, count: int) -> Iterator[str]:
        """Yields up to `count` neighbouring clauses of a text, never a whole text."""
        return self._made(count, self._clauses)

    def crossings(self, count: int) -> Iterator[str]:
        """Yields up to `count` texts that begin as one text and end as another that shares two neighbouring words.

        Each three neighbouring words of such a text are neighbours in a real one.
        """
        bigrams = _Bigrams(self._texts)
        return self._made(count, lambda: self._crossing(bigrams))

    def _made(self, count: int, make: Callable[[], list[str]]) -> Iterator[str]:
        if not self._texts:
            return
        made = 0
        for _ in range(count * TRIES):
            if made == count:
                return
            words = make()
            if SHORTEST <= len(words) <= LONGEST:
                made += 1
                yield " ".join(words)

    def _clauses(self) -> list[str]:
        """Draws a text and a run of its clauses; [] where it has one clause or all are drawn."""
        words = self._draw.choice(self._texts)
        starts = clause_starts(words, self._conjunctions)
        first = self._draw.randrange(len(starts) - 1)
        last = self._draw.randrange(first + 1, len(starts))
        return [] if last - first == len(starts) - 1 else words[starts[first] : starts[last]]

    def _crossing(self, bigrams: "_Bigrams") -> list[str]:
        """Draws a text and two of its words, and goes on after them as another text does; [] where no other has them."""
        text = self._draw.randrange(len(self._texts))
        words = self._texts[text]
        if len(words) < 4:
            return []
        at = self._draw.randrange(1, len(words) - 2)
        other, there = bigrams.same(text, at, self._draw)
        return [] if other == text else words[: at + 2] + self._texts[other][there + 2 :]


class _Bigrams:
    """Finds where the two words at a position of a text stand, too."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        ids: dict[str, int] = {}
        self._starts = np.cumsum([0, *map(len, texts)])
        numbered = (ids.setdefault(word, len(ids)) for text in texts for word in text)
        self._words = np.fromiter(numbered, np.int32, self._starts[-1])
        self._distinct = len(ids)
        keys = self._words[:-1].astype(np.int64) * self._distinct + self._words[1:]
        keys[self._starts[1:-1] - 1] = -1  # a text's last word and the next one's first
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._sorted = keys[self._order]

    def same(self, text: int, at: int, draw: random.Random) -> tuple[int, int]:
        """Draws one of the places of the same two words, this place among them: its text, and the index in that."""
        here = self._starts[text] + at
        key = int(self._words[here]) * self._distinct + int(self._words[here + 1])
        first, last = np.searchsorted(self._sorted, [key, key + 1])
        place = self._order[draw.randrange(first, last)]
        other = int(np.searchsorted(self._starts, place, "right")) - 1
        return other, int(place - self._starts[other])


def clause_starts(words: Sequence[str], conjunctions: frozenset[str]) -> list[int]:
    """Returns where the clauses of a text begin, after punctuation and at conjunctions, and then the number of words."""
    inside = range(1, len(words))
    starts = [at for at in inside if words[at].lower() in conjunctions or words[at - 1][-1] in _PUNCTUATION]
    return [0, *starts, len(words)]
