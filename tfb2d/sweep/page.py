"""A sweep as a page: a table, conclusions and pictures for each axis, drawn as the report's are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.evaluation.table import METRICS
from tfb2d.report.page import Picture, table_row
from tfb2d.report.page import render as render_page
from tfb2d.report.pictures import COLOURS, LINE, MUTED, interval, svg
from tfb2d.sweep.table import columns, conclusions, metrics_of, notes, split_of

TEMPLATE = Path(__file__).with_name("sweep.html")


def render(figures: Mapping[str, Any]) -> str:
    """Returns the HTML page of the figures of `sweep.json`."""
    split, primary, measures = split_of(figures), figures["primary"], metrics_of(figures)
    sections = []
    for axis in figures["axes"]:
        table = columns(figures, axis)
        results = {metric: [variant[split][metric]["value"] for variant in axis["variants"]] for metric in measures}
        known = [metric for metric in measures if set(results[metric]) != {None}]
        seen = f"Open dots: validation. Bars: 95% intervals on the {split} split; ticks: seeds."
        drawn = [(METRICS[name], _bars(axis, split, name), seen if name == primary else "") for name in known]
        for metric in (name for name in axis.get("curves", {}).get(split, {}) if name in known):
            caption = "Dashed: beyond the rows that there are. Dotted: the floor. Band: 95%, if the law holds."
            drawn.insert(0, (f"Learning curve, {METRICS[metric]}", _learning(axis, split, metric), caption))
        if "collisions" in axis["variants"][0]:
            caption = "Blue: of distinct n-grams; orange: weighted by how often they occur."
            drawn.append(("Collisions", _collisions(axis), caption))
        sections.append(
            {
                "name": axis["name"],
                "title": axis["title"],
                "note": axis["note"],
                "table": {
                    "titles": [title for title, _ in table],
                    "rows": [table_row(cells) for cells in zip(*(cells for _, cells in table), strict=True)],
                },
                "pictures": [
                    Picture(title, [svg], f"{axis['title']}: {title}; the figures are in the table", caption)
                    for title, svg, caption in drawn
                ],
                "conclusions": conclusions(axis),
            }
        )
    return render_page(TEMPLATE, figures=figures, sections=sections, notes=notes(figures))


def _bars(axis: Mapping[str, Any], split: str, metric: str) -> str:
    """Draws a line for each variant: its figure with the interval, and its validation figure as an open dot."""
    variants = [variant for variant in axis["variants"] if variant[split][metric]["value"] is not None]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=f"{METRICS[metric]}, %")
        axes.xaxis.set_major_formatter(_percent)
        axes.grid(visible=False, axis="y")
        for at, variant in enumerate(variants):
            result = variant[split][metric]
            interval(axes, at, result["ci95"], COLOURS["student"], across=True)
            axes.plot(result["by_seed"], [at] * len(result["by_seed"]), "|", color=COLOURS["student"], markersize=7)
            axes.plot([result["value"]], [at], "o", color=COLOURS["student"], markersize=6)
            if split != "valid" and variant["valid"][metric]["value"] is not None:
                axes.plot([variant["valid"][metric]["value"]], [at], "o", mfc="none", mec=MUTED, markersize=5)
            if variant["base"]:
                axes.axvline(result["value"], color=LINE, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(variants)), [variant["name"] for variant in variants])
        axes.set_ylim(len(variants) - 0.5, -0.5)

    return svg(f"bars-{axis['name']}-{metric}", draw, 6.4, 1.0 + 0.34 * len(variants))


def _learning(axis: Mapping[str, Any], split: str, metric: str) -> str:
    """Draws error against rows on a logarithmic axis, with the fitted curve and its band up to ten times the rows."""
    curve = axis["curves"][split][metric]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="rows learnt from", ylabel=f"100 - {METRICS[metric]}, %")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_rows)
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter(_percent)
        for variant in axis["variants"]:
            result = variant[split][metric]
            if result["value"] is None:
                continue
            ends = [1 - end for end in result["ci95"]] if result["ci95"] else None
            interval(axes, variant["rows"], ends, COLOURS["student"])
            axes.plot([variant["rows"]], [1 - result["value"]], "o", color=COLOURS["student"], markersize=5)
        if "band" in curve:
            band = {name: np.asarray(values) for name, values in curve["band"].items()}
            inside = band["rows"] <= curve["at"] * 1.0001
            axes.plot(band["rows"][inside], band["error"][inside], color=COLOURS["student"])
            axes.plot(band["rows"][~inside], band["error"][~inside], color=COLOURS["student"], linestyle=(0, (3, 2)))
            if "low" in band:
                axes.fill_between(
                    band["rows"], band["low"], band["high"], color=COLOURS["student"], alpha=0.12, linewidth=0
                )
            floor, shown = curve["floor"]["value"], axes.get_ylim()
            if floor > shown[0] - 0.3 * (shown[1] - shown[0]):  # a floor far below would flatten the curve
                axes.axhline(floor, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))

    return svg(f"curve-{split}-{metric}", draw, 6.4, 3.4)


def _percent(value: float, _: int) -> str:
    return f"{100 * value:.1f}"


def _rows(value: float, _: int) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def _collisions(axis: Mapping[str, Any]) -> str:
    """Draws the shares of n-grams that share a table row, by variant."""
    variants = axis["variants"]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="share of n-grams in a row with another")
        axes.grid(visible=False, axis="y")
        positions = np.arange(len(variants))
        axes.barh(positions - 0.18, [v["collisions"]["shared"] for v in variants], 0.32, color=COLOURS["student"])
        weighted = [v["collisions"]["shared_weighted"] for v in variants]
        axes.barh(positions + 0.18, weighted, 0.32, color=COLOURS["teacher"])
        axes.set_yticks(positions, [variant["name"] for variant in variants])
        axes.set(ylim=(len(variants) - 0.5, -0.5), xlim=(0, 1))

    return svg(f"collisions-{axis['name']}", draw, 6.4, 1.0 + 0.4 * len(variants))
