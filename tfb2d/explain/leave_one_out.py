"""Explains a score of a model whose weights are not at hand: leaves one token out after the other and asks it again."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tfb2d.explain.spans import positions
from tfb2d.students import text_spec

MAX_TOKENS = 64  # of a text; later ones are not left out, so a pair costs at most 129 scores
_EDGE = 1e-6  # scores are kept this far from 0 and 1, so that their logits are finite

Rank = Callable[[str, Sequence[str]], NDArray[np.floating]]  # a query and n titles -> [n] scores from 0 to 1


def leave_one_out(rank: Rank, query: str, title: str) -> tuple[float, list[list[str]], list[list[float]]]:
    """Computes by how much each token of a pair raises the logit: that of the pair less that without the token.

    Unlike integrated gradients these values do not sum to the logit: a word that occurs twice hardly matters once. The
    model is asked once for the title's words together, and once for each of the query's. Texts have no lone surrogates.
    Returns (the pair's score, the tokens of query and title, what each of them adds to the logit).
    """
    texts = (query, title)
    tokens = [[token.decode() for token in text_spec.tokens(text, MAX_TOKENS)] for text in texts]
    queries, titles = (
        [f"{text[:first]} {text[last:]}" for first, last in positions(text, words)]
        for text, words in zip(texts, tokens, strict=True)
    )
    scores = [*rank(query, [title, *titles]), *(rank(shorter, [title])[0] for shorter in queries)]
    logits = logit(np.clip(np.array(scores, np.float64), _EDGE, 1 - _EDGE))
    added = (logits[0] - logits[1:]).tolist()
    return float(scores[0]), tokens, [added[len(titles) :], added[: len(titles)]]
