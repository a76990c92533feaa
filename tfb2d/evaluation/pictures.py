"""The pictures of a run's report: ROC and calibration curves, training, the student's scores against the teacher's."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfb2d.evaluation.metrics import calibration_rows, one_against_rest
from tfb2d.evaluation.models import History
from tfb2d.evaluation.scores import Bools, Floats, decisions
from tfb2d.report.pictures import COLOURS, DASHES, LINE, MUTED, svg

GRID = 200  # points of a curve that would have more
POINTS = 10  # of a calibration curve
CROWD = 400  # rows from which a scatter shows densities


@dataclass(frozen=True)
class Series:
    """Holds a model's part in a picture: its key in COLOURS, its title, and the rows it scored."""

    key: str
    title: str
    labels: Floats  # [n]
    scores: Floats  # [n] or [n, k]


def roc(kind: str, series: Sequence[Series]) -> str:
    """Draws ROC curves; of a multi-class task, the mean over its classes of one against the rest."""
    from sklearn.metrics import roc_curve

    grid = np.linspace(0, 1, GRID + 1)

    def draw(figure: Any) -> None:
        axes = _unit_square(figure, "false positive rate", "true positive rate")
        for model in series:
            views = [v for v in one_against_rest(kind, model.labels, model.scores) if v[0].any() and not v[0].all()]
            curves = [roc_curve(*view)[:2] for view in views]
            if not curves:
                continue
            wrong, right = curves[0]
            if len(curves) > 1 or len(wrong) > 2 * GRID:
                heights = np.mean([np.interp(grid, *curve) for curve in curves], axis=0)
                wrong, right = np.append(0, grid), np.append(0, heights)
            axes.plot(wrong, right, color=COLOURS[model.key], linestyle=DASHES[model.key])

    return svg("roc", draw, 4.4, 4.4)


def calibration(kind: str, series: Sequence[Series]) -> str:
    """Draws claimed against observed probability; each point stands for the same number of rows."""

    def draw(figure: Any) -> None:
        axes = _unit_square(figure, "claimed probability", "observed share")
        for model in series:
            claims, outcomes = calibration_rows(kind, model.labels, model.scores)
            parts = [part for part in np.array_split(np.argsort(claims, kind="stable"), POINTS) if len(part)]
            means = np.array([(claims[part].mean(), outcomes[part].mean()) for part in parts])
            axes.plot(*means.T, color=COLOURS[model.key], linestyle=DASHES[model.key], marker="o", markersize=4)

    return svg("calibration", draw, 4.4, 4.4)


def training(index: int, key: str, history: History) -> list[str]:
    """Draws the losses and the other figures of the page's `index`th training, by epoch or step.

    Validation figures have the model's colour, training figures are grey. Returns an SVG for each of the two panels that
    has figures.
    """
    names = {name: None for row in history for name, value in row.items() if _finite(value)}
    axis = next((name for name in ("epoch", "step") if name in names), "")
    curves = [name for name in names if not re.search("epoch|step|second|time|rate|rows", name)]
    panels = [[n for n in curves if "loss" in n], [n for n in curves if "loss" not in n]]

    def drawing(panel: list[str]) -> Callable[[Any], None]:
        def draw(figure: Any) -> None:
            axes = figure.add_subplot(xlabel=axis or "evaluation")
            for name in sorted(panel):
                watched = "val" in name
                known = [(at, row) for at, row in enumerate(history, 1) if _finite(row.get(name))]
                places, values = [row.get(axis, at) for at, row in known], [row[name] for _, row in known]
                look = {"color": COLOURS[key]} if watched else {"color": MUTED, "linestyle": (0, (3, 2))}
                label = name.replace("_", " ").replace("val ", "valid ")
                axes.plot(places, values, label=label, marker="o", markersize=3.5, **look)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False, fontsize=9)

        return draw

    return [svg(f"training-{index}-{at}", drawing(panel), 3.3, 2.5) for at, panel in enumerate(panels) if panel]


def scatter(teacher: Floats, own: Floats, right: Bools, key: str = "student") -> str:
    """Draws a model's score against the teacher's; more than CROWD rows as hexagons, the darker the more rows.

    Scores are `[n]`, or `[n, k]`, of which the class that the teacher decides for is shown. `right`, `[n]`, says
    whether the model decides as the label says; single rows that it gets wrong are crosses. `key` is the model's, in
    COLOURS.
    """
    from matplotlib.colors import to_rgba

    if teacher.ndim == 2:
        rows, chosen = np.arange(len(teacher)), decisions(teacher)
        teacher, own = teacher[rows, chosen], own[rows, chosen]

    def draw(figure: Any) -> None:
        axes = _unit_square(figure, "teacher's score", f"{key}'s score")
        if len(teacher) > CROWD:
            hexagons = axes.hexbin(teacher, own, gridsize=26, extent=(0, 1, 0, 1), mincnt=1, linewidths=0)
            counts = np.asarray(hexagons.get_array())
            depth = 0.12 + 0.88 * np.log1p(counts) / np.log1p(counts.max())
            hexagons.set_array(None)
            hexagons.set_facecolor([to_rgba(COLOURS[key], alpha) for alpha in depth])
            hexagons.set_edgecolor("none")
        else:
            for marker, rows in (("o", right), ("x", ~right)):
                axes.scatter(teacher[rows], own[rows], s=16, c=COLOURS[key], marker=marker, alpha=0.6)

    return svg(f"scatter-{key}", draw, 4.4, 4.4)


def _unit_square(figure: Any, xlabel: str, ylabel: str) -> Any:
    """Makes axes from 0 to 1 with their diagonal."""
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    return axes


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
