"""Finds the titles that share most with a query: BM25 (Robertson & Zaragoza 2009) by products of sparse matrices.

A text's features are its words, and the first four characters of its longer codes. So for `rsg5uusl1` the index finds
`rsg5uusm1` too, which is the hardest negative that there is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfb2d.best import best_rows

K1, B = 1.2, 0.75  # BM25's usual settings; a word counts once per title
CHUNK = 256  # queries scored at once
COMMON = 0.05  # features of more than this share of the titles, and of more than 500, are left out: they tell nothing
_WORD = re.compile(r"[^\W_]+")


class Overlap:
    """Indexes n titles."""

    def __init__(self, titles: Sequence[str]) -> None:
        from scipy import sparse

        self.rows = len(titles)
        features = [_features(title) for title in titles]
        counts = Counter(feature for row in features for feature in row)
        most = max(500, COMMON * self.rows)
        self._indices = {f: i for i, f in enumerate(f for f, count in counts.items() if count <= most)}
        frequency = np.array([counts[f] for f in self._indices], np.float64)
        idf = np.log1p((self.rows - frequency + 0.5) / (frequency + 0.5))
        matrix = self._matrix(features)
        lengths = np.array([len(row) for row in features], np.float64)
        norm = (K1 + 1) / (1 + K1 * (1 - B + B * lengths / max(lengths.mean(), 1))) if self.rows else lengths
        self._weights = (sparse.diags(norm) @ matrix @ sparse.diags(idf)).astype(np.float32).T.tocsr()

    def nearest(self, queries: Sequence[str], k: int) -> np.ndarray:
        """Finds the `k` titles that share most with each query.

        Returns int32 [queries, k], indices of titles, the best first; of equally good ones the lower index is first. -1
        where fewer titles share anything with the query.
        """
        nearest = np.full((len(queries), k), -1, np.int32)
        for start in range(0, len(queries), CHUNK):
            scores = self._matrix([_features(q) for q in queries[start : start + CHUNK]]) @ self._weights
            for row in range(scores.shape[0]):
                part = slice(scores.indptr[row], scores.indptr[row + 1])
                best, _ = best_rows(scores.indices[part], scores.data[part], k)
                nearest[start + row, : len(best)] = best
        return nearest

    def _matrix(self, features: Sequence[Sequence[str]]) -> Any:
        from scipy import sparse

        known = [[self._indices[f] for f in row if f in self._indices] for row in features]
        columns = np.fromiter((index for row in known for index in row), np.int32)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in known])]).astype(np.int32)
        shape = (len(known), len(self._indices))
        return sparse.csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape)


def _features(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    codes = [f"^{word[:4]}" for word in words if len(word) > 4 and any(map(str.isdigit, word))]
    return sorted({*words, *codes})
