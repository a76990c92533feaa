"""Finds words of labelled texts that go with one class, and puts them into frames such as "not {}".

The data stage makes transfer rows of them ("not good"), and the report shows them plain and negated.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

MOST_TEXTS = 50_000  # that are read, at equal distances; more say little more about frequent words
MIN_TEXTS = 10  # a rarer word is not used; nor is a frame with a word that is so rare
FOLLOWS = 0.05  # share of a word's texts in which it follows a word of degree

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class IndicativeWords:
    """Counts the words of labelled texts; `labels`, `[n]`, are 0 or 1."""

    def __init__(self, texts: Sequence[str], labels: ArrayLike) -> None:
        step = max(1, len(texts) // MOST_TEXTS)
        self._words = [[word.lower() for word in _WORD.findall(text)] for text in texts[::step]]
        self._labels = np.asarray(labels, np.float64)[::step]
        self._counts = Counter(word for own in self._words for word in set(own))

    def known(self, frames: Sequence[str]) -> list[str]:
        """Returns the frames whose own words the texts hold often enough."""
        return [frame for frame in frames if self._is_known(frame)]

    def by_class(self, degrees: Sequence[str], least: float) -> tuple[list[str], list[str]]:
        """Returns frequent words of the negative class, and of the positive one, the most indicative ones first.

        Where there are words of degree ("very"), a word must often follow such a word, as adjectives do. `least` is the
        z-score of the word's share of positive labels.
        """
        positive: Counter[str] = Counter()
        follows: Counter[str] = Counter()
        for own, label in zip(self._words, self._labels, strict=True):
            positive.update(set(own) if label else ())
            follows.update({word for before, word in pairwise(own) if before in degrees})
        base = float(self._labels.mean()) if len(self._labels) else 0.0
        deviation = (base * (1 - base)) ** 0.5
        z = {
            word: (positive[word] / count - base) * count**0.5 / deviation
            for word, count in self._counts.items()
            if deviation and count >= MIN_TEXTS and (not degrees or follows[word] >= FOLLOWS * count)
        }
        ordered = sorted(z, key=lambda word: (-abs(z[word]), word))
        indicative = [word for word in ordered if abs(z[word]) >= least and word not in degrees]
        return [word for word in indicative if z[word] < 0], [word for word in indicative if z[word] > 0]

    def _is_known(self, frame: str) -> bool:
        return all(self._counts[word.lower()] >= MIN_TEXTS for word in _WORD.findall(frame.replace("{}", " ")))


def framed(words: Sequence[str], frames: Sequence[str]) -> Iterator[str]:
    """Yields every word in every frame: "not good", "hardly good", ..."""
    return (frame.replace("{}", word) for word in words for frame in frames)
