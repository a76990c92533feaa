"""BM25 scores of (query, title) pairs: what the words alone are worth, beside every ranking.

The library is bm25s (Lù 2024, arXiv 2407.03618), with its defaults k1 = 1.5, b = 0.75 and Lucene's form, whose weights
are never negative. Its own tokenizer is not used: it drops one-letter words, "not" and "for", so sizes and model names
are lost.
"""

import re
from collections.abc import Sequence

import numpy as np

from tfb2d.evaluation.scores import Floats
from tfb2d.imports import import_bm25s

# Measures of the order of scores alone: those that BM25 has without a calibration to probabilities.
BY_ORDER = ("roc_auc", "pr_auc", "ndcg10", "ndcg10_all", "spearman", "pair_order")

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Splits a text into lower-case words, those of one letter included; a run of letters without spaces is one word."""
    return _WORD.findall(text.lower())


def bm25_scores(queries: Sequence[str], titles: Sequence[str]) -> Floats:
    """Scores each of `n` queries with its own title, `[n]`: 0 where they share no word, otherwise more.

    The documents are the distinct titles.
    """
    documents = {title: index for index, title in enumerate(dict.fromkeys(titles))}
    vocabulary: dict[str, int] = {}
    ids = [[vocabulary.setdefault(word, len(vocabulary)) for word in words(title)] for title in documents]
    scores = np.zeros(len(titles))
    if not vocabulary:
        return scores  # no title has a word; BM25.index would fail
    index = import_bm25s().BM25()
    index.index((ids, vocabulary), show_progress=False)
    rows: dict[str, list[int]] = {}
    for row, query in enumerate(queries):
        rows.setdefault(query, []).append(row)
    for query, own in rows.items():
        known = [vocabulary[word] for word in words(query) if word in vocabulary]
        if known:  # get_scores fails on an empty list
            scores[own] = index.get_scores(known)[[documents[titles[row]] for row in own]]
    return scores


def bm25_shares(queries: Sequence[str], titles: Sequence[str]) -> Floats:
    """Returns BM25's scores s as s / (1 + s), `[n]` in [0, 1): the same order, in the range of probabilities."""
    scores = bm25_scores(queries, titles)
    return scores / (1 + scores)
