"""Hashes many texts, as `tfb2d.students.text_spec` hashes one.

Plain Python's time goes into calls, and most words of a catalogue repeat. So texts are cut at white space first, and what a
word consists of is computed once for as long as the word stays in a cache.
"""

from collections.abc import Sequence

import numpy as np

from tfb2d.students import text_spec

KEPT = 1 << 16  # words in the cache


class WordHashes(dict[str, list[int]]):
    """Maps words to the hashes of their tokens, which it computes when they are first met.

    A word is what stands between white space. Folding turns all white space that Python knows into blanks, so that a text's
    tokens are those of its words.

    Args:
      affixes: as of `text_spec.token_hash`.
    """

    def __init__(self, affixes: Sequence[int] = ()) -> None:
        super().__init__()
        self._affixes = affixes

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= KEPT:
            self.clear()
        value = self[word] = text_spec.token_hashes(word, 3 * len(word), self._affixes).tolist()
        return value

    def of(self, texts: Sequence[str | bytes], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes the first `max_tokens` tokens of each text.

        Returns:
          Hashes of all tokens, text by text, and the number of tokens of each text; both int64.
        """
        hashes: list[int] = []
        lengths = np.empty(len(texts), np.int64)
        for row, text in enumerate(texts):
            words = (text if isinstance(text, str) else text.decode("utf-8", "replace")).split()
            before = len(hashes)
            for word in words:
                hashes += self[word]
            lengths[row] = min(len(hashes) - before, max_tokens)
            del hashes[before + max_tokens :]
        return np.array(hashes, np.int64), lengths
