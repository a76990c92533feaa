"""The monitor's pictures: figures by window of time."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from tfb2d.monitor.drift import BANDS
from tfb2d.report.pictures import COLOURS, INK, LINE, MUTED, interval, svg

Window = Mapping[str, Any]

_SIZE = (4.6, 2.7)
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)))


def volume(windows: Sequence[Window]) -> str:
    """Draws the rows of each window."""

    def draw(axes: Any, positions: Any) -> None:
        axes.bar(positions, [window["rows"] for window in windows], color=COLOURS["student"], width=0.75)
        axes.set_ylim(bottom=0)

    return _over_time("volume", windows, "rows", draw)


def scores(windows: Sequence[Window]) -> str:
    """Draws the median and the middle 80% of the served scores."""

    def draw(axes: Any, positions: Any) -> None:
        low, middle, high = ([_number(window["score"][name]) for window in windows] for name in ("p10", "p50", "p90"))
        axes.vlines(positions, low, high, color=COLOURS["student"], linewidth=6, alpha=0.25)
        axes.plot(positions, middle, color=COLOURS["student"], marker="o", markersize=4)
        axes.set_ylim(-0.02, 1.02)

    return _over_time("scores", windows, "score", draw)


def drift(windows: Sequence[Window]) -> str:
    """Draws each window's PSI, its usual bands, and (grey) the value that chance exceeds in 1 window of 20."""

    def draw(axes: Any, positions: Any) -> None:
        psi, chance = ([_number(window[name]) for window in windows] for name in ("psi", "chance95"))
        axes.bar(positions, chance, color=MUTED, alpha=0.25, width=0.75)
        axes.plot(positions, psi, color=COLOURS["student"], marker="o", markersize=4)
        for band in BANDS:
            axes.axhline(band, color=COLOURS["teacher"], linestyle=(0, (5, 2)), linewidth=1)
        axes.set_ylim(0, max(0.3, 1.1 * np.nanmax([*psi, 0.0])))

    return _over_time("drift", windows, "PSI", draw)


def new_ngrams(windows: Sequence[Window], orders: Sequence[str]) -> str:
    """Draws the share of n-grams that the reference lacks, by order."""

    def draw(axes: Any, positions: Any) -> None:
        for order, dash in zip(orders, cycle(_DASHES), strict=False):
            values = [100 * _number(window["new"][order]["share"]) for window in windows]
            name = "tokens" if order == "1" else f"{order} tokens"
            axes.plot(positions, values, color=INK, linestyle=dash, marker="o", markersize=3.5, label=name)
        axes.legend(frameon=False, fontsize=9)
        axes.set_ylim(bottom=0)

    return _over_time("new", windows, "new, %", draw)


def compared(windows: Sequence[Window], measure: str, what: str, overall: float | None = None) -> str:
    """Draws a share of the comparison with the teacher in percent, with 95% intervals; `overall`, if given, as a line."""

    def draw(axes: Any, _: Any) -> None:
        lowest = 100.0
        for position, window in enumerate(windows):
            share, ends = window["fidelity"][measure]["value"], window["fidelity"][measure]["ci95"]
            if share is not None:  # a window without a share stays empty
                lowest = min(lowest, 100 * (ends[0] if ends else share))
                interval(axes, position, [100 * end for end in ends] if ends else None, COLOURS["teacher"])
                axes.plot(position, 100 * share, color=COLOURS["teacher"], marker="o", markersize=5)
        if overall is None:
            axes.set_ylim(bottom=0)
        else:
            axes.axhline(100 * overall, color=MUTED, linewidth=1)
            axes.set_ylim(max(0.0, lowest - 5), 101)

    return _over_time(measure, windows, what, draw)


def _over_time(name: str, windows: Sequence[Window], what: str, draw: Callable[[Any, Any], None]) -> str:
    """Returns a picture whose x axis is the windows' positions, their times below it."""

    def whole(figure: Any) -> None:
        axes = figure.add_subplot(ylabel=what)
        axes.grid(axis="x", visible=False)
        draw(axes, np.arange(len(windows)))
        ticks = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), 4)).round().astype(int))
        days = all(window["time"].endswith(" 00:00") for window in windows)
        labels = [windows[tick]["time"].removesuffix(" 00:00" if days else "").replace(" ", "\n") for tick in ticks]
        axes.set_xticks(ticks, labels, fontsize=8)
        axes.set_xlim(-0.6, len(windows) - 0.4)
        axes.axhline(0, color=LINE, linewidth=0.8)

    return svg(name, whole, *_SIZE)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
