"""Turns logits into probabilities, in NumPy alone, so that a small device computes what all others do."""

import numpy as np
from numpy.typing import NDArray


def one_column(values: NDArray) -> NDArray:
    """Returns `[n]` of `[n, 1]` values, which models of one logit a row have; other shapes `[n, k]` as they are."""
    return values[:, 0] if values.shape[1] == 1 else values


def probabilities(logits: NDArray) -> NDArray:
    """Applies a sigmoid to logits `[n, 1]`, giving `[n]`, and a softmax to `[n, k]`; neither overflows, dtypes stay."""
    half = logits.dtype.type(0.5)
    if logits.shape[1] == 1:
        return half * (np.tanh(half * logits[:, 0]) + logits.dtype.type(1))
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
