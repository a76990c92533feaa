"""The models that a report compares, and what is known of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation.scores import Bools
from tfb2d.outcomes import Calibration

History = Sequence[Mapping[str, Any]]

# In the order of the report's rows: a model's key in report.json, and its title.
MODELS = {
    "teacher": "teacher",
    "student": "student",
    "twin": "twin",
    "labels_only": "student, labels only",
    "bm25": "BM25",
}
DISTILLED = ("student", "twin")  # compared with the teacher; the first that there is leads


@dataclass(frozen=True)
class Model:
    """Holds one model's part in a report.

    Scores are calibrated probabilities, `[n]` or (multi-class) `[n, k]`. External scores of a teacher may lack rows, which
    are NaN. Such a teacher is measured, and others are compared with it, on the other rows.
    """

    scores: ArrayLike  # of the test split
    threshold: float | None = None  # of a binary task, from which on the answer is "yes"; chosen on validation
    history: History = ()  # figures of each evaluation during training
    latency: Mapping[str, Any] = field(default_factory=dict)  # of `latency.measure`
    size_mb: float | None = None  # on disk, 10^6 bytes
    # of `latency.measure`, of embedding a query; only of a twin
    embed_latency: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""  # of the exported model; "" of models that are not exported
    logits: ArrayLike | None = None  # of the test split, of the shape of the scores; None where they were not kept
    calibration: Calibration | None = None  # turns the logits into the scores; None where it is not known


def covered(scores: ArrayLike) -> Bools:
    """Returns the rows that a model has a score for, `[n]`."""
    array = np.asarray(scores)
    return ~np.isnan(array if array.ndim == 1 else array.sum(axis=1))
