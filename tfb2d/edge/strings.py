"""Hashes many texts, as `tfb2d.students.text_spec` hashes one.

Plain Python's time goes into calls, and most words of a catalogue repeat. So texts are cut at white space first, and what a
word consists of is computed once for as long as the word stays in a cache. The rest is done by NumPy for all texts at once.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from tfb2d.students import text_spec
from tfb2d.students.spelling import Dictionary

KEPT = 1 << 16  # words that stay in the cache


class WordHashes(dict[str, int]):
    """Numbers words as they are first met, and holds the hashes of their tokens.

    A word is what is between white space. Folding turns all white space that Python knows into blanks, so that a text's
    tokens are those of its words. The affixes are those of `text_spec.token_hash`; a `dictionary` corrects queries.
    """

    def __init__(self, affixes: Sequence[int] = (), dictionary: Dictionary | None = None) -> None:
        super().__init__()
        self._affixes = affixes
        self._dictionary = dictionary
        self._hashes = np.empty(1024, np.int64)  # of all words in turn; longer than its content
        self._ends = np.zeros(1024, np.int64)  # where each word's hashes end; those of word i begin where i - 1's end

    def __missing__(self, word: str) -> int:
        tokens = text_spec.tokens(word, 3 * len(word))
        if self._dictionary is not None:
            tokens = [self._dictionary.read(token) for token in tokens]
        hashes = [text_spec.token_hash(token, self._affixes) for token in tokens]
        number = len(self) + 1
        start = self._ends[number - 1]
        end = start + len(hashes)
        if end > len(self._hashes):
            self._hashes = np.resize(self._hashes, 2 * end)
        if number == len(self._ends):
            self._ends = np.resize(self._ends, 2 * number)
        self._hashes[start:end] = hashes
        self._ends[number] = end
        self[word] = number
        return number

    def of(self, texts: Sequence[str | bytes], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes the first `max_tokens` tokens of each text.

        Returns the hashes of all tokens, text by text, and the number of tokens of each text; both int64.
        """
        words = [(text if isinstance(text, str) else text.decode("utf-8", "replace")).split() for text in texts]
        numbers = np.fromiter(map(self.__getitem__, chain.from_iterable(words)), np.int64)
        starts, ends = self._ends[numbers - 1], self._ends[numbers]
        behind = np.concatenate([[0], np.cumsum(ends - starts)])  # where each word's tokens begin among all texts'
        hashes = self._hashes[np.repeat(ends - behind[1:], ends - starts) + np.arange(behind[-1])]
        splits = behind[np.cumsum([0, *map(len, words)])]
        lengths = np.diff(splits)
        if len(lengths) and lengths.max() > max_tokens:
            kept = np.arange(len(hashes)) - np.repeat(splits[:-1], lengths) < max_tokens
            hashes, lengths = hashes[kept], np.minimum(lengths, max_tokens)
        if len(self) > KEPT:
            self.clear()
        return hashes, lengths
