"""Ranks titles by BM25 for a query.

The library is bm25s (Lù 2024, arXiv 2407.03618), with its defaults k1 = 1.5, b = 0.75 and Lucene's form. Words are cut
between letters and digits. So `64gb` shares both parts with `64 gb`, and a model code shares its beginning with its
neighbours' codes.
"""

import re
from collections.abc import Sequence

import numpy as np

from tfb2d.imports import import_bm25s

_PIECE = re.compile(r"[^\W\d_]+|\d+")


def pieces(text: str) -> list[str]:
    """Splits a text into its runs of letters, lower-cased, and its runs of digits."""
    return _PIECE.findall(text.lower())


class Retriever:
    """Indexes n titles in memory: about 12 bytes a distinct word of a title, beside the titles themselves.

    Args:
      titles: the titles.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        self._ids: dict[str, int] = {}
        documents = [[self._ids.setdefault(piece, len(self._ids)) for piece in pieces(title)] for title in titles]
        self._index = None
        if self._ids:  # BM25.index fails on titles without a single word
            self._index = import_bm25s().BM25()
            self._index.index((documents, self._ids), show_progress=False)

    def nearest(self, query: str, k: int) -> np.ndarray:
        """Returns the indices of at most `k` titles that share a word with the query, best first, int64.

        Of equally good titles the one with the lower index is first.
        """
        known = [self._ids[piece] for piece in dict.fromkeys(pieces(query)) if piece in self._ids]
        if self._index is None or not known:  # get_scores fails on an empty list
            return np.zeros(0, np.int64)
        scores = self._index.get_scores(known)
        sharing = np.flatnonzero(scores > 0)
        if len(sharing) > k:
            least = np.partition(scores[sharing], len(sharing) - k)[len(sharing) - k]
            sharing = sharing[scores[sharing] >= least]
        return sharing[np.lexsort((sharing, -scores[sharing]))][:k]
