"""The figures of a window, computed from its sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.monitor import drift
from tfb2d.monitor.windows import Window


@dataclass(frozen=True)
class Describer:
    """Computes the figures of windows from their sums."""

    base: NDArray[np.int64]  # histogram of the baseline's scores
    classes: NDArray[np.int64]  # counts of the baseline's decisions
    multiclass: bool  # whether to measure the drift of decisions, too
    # the share of new n-grams that the reference's filter takes for known; None without a reference
    missed: float | None
    orders: Sequence[int]  # of the windows' n-grams
    fields: Sequence[str]

    def __call__(self, window: Window) -> dict[str, Any]:
        """Returns a window's figures, as in monitor.json."""
        rows, scored = window["rows"], window["scored"]
        low, middle, high = (
            None if q != q else float(q) for q in drift.quantiles(window.scores, (0.1, 0.5, 0.9)).tolist()
        )
        moved = drift.psi(self.base, window.scores, drift.tenths(self.base))
        if self.multiclass:
            classes = drift.psi(self.classes, window.classes)
            moved = max(moved, classes, key=lambda figures: figures["psi"] or 0)
        return {
            **{name: window[name] for name in ("rows", "requests", "scored", "empty", "bytes")},
            "tokens_per_row": float(window.tokens[:, 0].sum() / rows) if rows else None,
            "score": {"p10": low, "p50": middle, "p90": high},
            "positive": float(window.classes[1] / scored) if scored and not self.multiclass else None,
            "classes": (window.classes / scored).tolist() if scored and self.multiclass else None,
            **moved,
            "band": drift.band(moved["psi"]),
            "new": self._new(window),
            "rows_with_new": float(window["new_rows"] / rows) if rows and self.missed is not None else None,
        }

    def _new(self, window: Window) -> dict[str, Any] | None:
        """Returns the shares of n-grams that the reference lacks, by order: over all fields, and by field."""
        if self.missed is None:
            return None
        return {
            str(order): {
                "share": self._share(window.new[:, at].sum(), window.tokens[:, at].sum()),
                "count": int(window.tokens[:, at].sum()),
                **{
                    name: self._share(window.new[field, at], window.tokens[field, at])
                    for field, name in enumerate(self.fields)
                    if len(self.fields) > 1
                },
            }
            for at, order in enumerate(self.orders)
        }

    def _share(self, new: int, every: int) -> float | None:
        # Corrects for new n-grams that the filter takes for known.
        return min(1.0, float(new / every) / (1 - (self.missed or 0))) if every else None
