"""Explains a score of a model whose weights are not at hand: leaves one token out after the other and asks it again."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tfb2d.explain.spans import positions
from tfb2d.students import text_spec

MAX_TOKENS = 64  # of a text; later ones are not left out, so a pair costs at most 129 scores
_EDGE = 1e-6  # scores are kept this far from 0 and 1, so that their logits are finite

Scores = Callable[[Sequence[str], Sequence[str]], NDArray[np.floating]]


def left_out(scores: Scores, query: str, title: str) -> tuple[float, list[list[str]], list[list[float]]]:
    """Computes by how much each token of a pair raises the logit: that of the pair less that without the token.

    Unlike integrated gradients these values do not sum to the logit: a word that stands twice hardly matters once.

    Args:
      scores: of n queries and n titles, `[n]` from 0 to 1.
      query, title: without lone surrogates.

    Returns:
      (the pair's score, the tokens of query and title, what each of them adds to the logit).
    """
    texts = (query, title)
    tokens = [[token.decode() for token in text_spec.tokens(text, MAX_TOKENS)] for text in texts]
    rows = [texts]
    for side, (text, words) in enumerate(zip(texts, tokens, strict=True)):
        for first, last in positions(text, words):
            shorter = f"{text[:first]} {text[last:]}"
            rows.append((shorter, title) if side == 0 else (query, shorter))
    got = np.asarray(scores([row[0] for row in rows], [row[1] for row in rows]), np.float64)
    logits = logit(np.clip(got, _EDGE, 1 - _EDGE))
    added = (logits[0] - logits[1:]).tolist()
    split = len(tokens[0])
    return float(got[0]), tokens, [added[:split], added[split:]]
