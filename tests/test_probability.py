"""Probabilities from logits: as the formulas say, and for any finite logit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfb2d.probability import one_column, probabilities

LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)


@given(LOGITS)
def test_probabilities_never_overflow(logits: np.ndarray) -> None:
    scores = probabilities(logits)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    if logits.shape[1] == 1:
        np.testing.assert_allclose(scores, 1 - probabilities(-logits), atol=1e-6)
    else:
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-6)


def test_the_formulas() -> None:
    np.testing.assert_allclose(probabilities(np.array([[0.0], [np.log(3)]])), [0.5, 0.75])
    np.testing.assert_allclose(probabilities(np.log(np.array([[1.0, 3.0, 4.0]]))), [[0.125, 0.375, 0.5]])
    assert one_column(np.zeros((3, 1))).shape == (3,)
    assert one_column(np.zeros((3, 2))).shape == (3, 2)
