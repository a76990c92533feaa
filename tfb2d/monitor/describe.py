"""The figures of windows, computed from their sums."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tfb2d.data.task import Task
from tfb2d.monitor import drift
from tfb2d.monitor.reference import Reference
from tfb2d.monitor.windows import Window

BASELINE_ROWS = 500  # least scored rows of a first window that others are compared with


def describe(
    by_time: Sequence[tuple[int, Window]], past: Reference | None, own_scores: bool, task: Task, orders: Sequence[int]
) -> dict[str, Any]:
    """Returns volume, lengths, new n-grams and score drift, by window (start and sums) and over all.

    `own_scores` says whether the reference `past` has the scores of the model that is monitored. Otherwise the first
    window is the baseline.
    """
    total = by_time[0][1].none_like()
    for _, window in by_time:
        total.add(window)
    base: Window | Reference
    if past is not None and own_scores:
        base, baseline = past, "reference"
    else:
        enough = (window for _, window in by_time if window["scored"] >= BASELINE_ROWS)
        base, baseline = next(enough, by_time[0][1]), "first window"
    missed = None if past is None else past.known.false_positives
    of_window = partial(_figures, base=base, missed=missed, task=task, orders=orders)
    return {
        "baseline": baseline,
        "overall": of_window(total),
        "windows": [{"start": start, "time": _utc(start), **of_window(window)} for start, window in by_time],
    }


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _figures(
    window: Window, base: Window | Reference, missed: float | None, task: Task, orders: Sequence[int]
) -> dict[str, Any]:
    """Returns a window's figures, as in monitor.json.

    `missed` is the share of new n-grams that the reference's filter takes for known; None without a reference.
    """
    rows, scored, multiclass = window["rows"], window["scored"], task.kind == "multiclass"
    low, middle, high = (None if q != q else q for q in drift.quantiles(window.scores, (0.1, 0.5, 0.9)).tolist())
    moved = drift.psi(base.scores, window.scores, drift.tenths(base.scores))
    if multiclass:
        classes = drift.psi(base.classes, window.classes)
        moved = max(moved, classes, key=lambda figures: figures["psi"] or 0)
    return {
        **{name: window[name] for name in ("rows", "requests", "scored", "empty", "bytes")},
        "tokens_per_row": float(window.tokens[:, 0].sum() / rows) if rows else None,
        "score": {"p10": low, "p50": middle, "p90": high},
        "positive": float(window.classes[1] / scored) if scored and not multiclass else None,
        "classes": (window.classes / scored).tolist() if scored and multiclass else None,
        **moved,
        "band": drift.band(moved["psi"]),
        "new": None if missed is None else _new(window, missed, task, orders),
        "rows_with_new": float(window["new_rows"] / rows) if rows and missed is not None else None,
    }


def _new(window: Window, missed: float, task: Task, orders: Sequence[int]) -> dict[str, Any]:
    """Returns the shares of n-grams that the reference lacks, by order: over all fields and, of pairs, by field."""

    def share(new: int, every: int) -> float | None:
        # Corrects for new n-grams that the filter takes for known.
        return min(1.0, float(new / every) / (1 - missed)) if every else None

    shares: dict[str, Any] = {}
    for order, new, tokens in zip(orders, window.new.T, window.tokens.T, strict=True):
        by_field = map(share, new, tokens) if len(task.fields) > 1 else ()
        of_order = {"share": share(new.sum(), tokens.sum()), "count": int(tokens.sum())}
        shares[str(order)] = of_order | dict(zip(task.fields, by_field, strict=False))
    return shares
