"""Makes start values of table rows out of a teacher's word vectors."""

import numpy as np


def start_rows(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Turns word vectors `[n, width]` into table rows `[n, dim]` float32 by PCA; rows get the length of start values."""
    width = min(dim, *vectors.shape)
    centred = vectors.astype(np.float32) - vectors.mean(0, dtype=np.float32)
    _, axes = np.linalg.eigh(centred.T @ centred)
    reduced = np.zeros((len(vectors), dim), np.float32)
    reduced[:, :width] = centred @ axes[:, ::-1][:, :width]
    reduced /= np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-8)
    length = (1 / 3) ** 0.5  # of a row of `dim` numbers that are uniform in +-1/sqrt(dim)
    return reduced * length
