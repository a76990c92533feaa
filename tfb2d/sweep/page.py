"""A sweep as a page: a table, conclusions and pictures for each axis."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfb2d.evaluation.table import METRICS
from tfb2d.report.page import Picture, table_row
from tfb2d.report.page import render as render_page
from tfb2d.sweep import pictures
from tfb2d.sweep.table import columns, conclusions, metrics_of, notes, split_of

TEMPLATE = Path(__file__).with_name("sweep.html")


def render(figures: Mapping[str, Any]) -> str:
    """Returns the HTML page of the figures of `sweep.json`."""
    split, primary = split_of(figures), figures["primary"]
    sections = []
    for axis in figures["axes"]:
        table = columns(figures, axis)
        known = [
            m
            for m in metrics_of(figures)
            if any(variant[split][m]["value"] is not None for variant in axis["variants"])
        ]
        seen = f"Open dots: validation. Bars: 95% intervals on the {split} split; ticks: seeds."
        drawn = [(METRICS[primary], pictures.bars(axis, split, primary), seen)] if primary in known else []
        for other in metrics_of(figures):
            if other != primary and other in known:
                drawn.append((METRICS[other], pictures.bars(axis, split, other), ""))
        for metric in (name for name in axis.get("curves", {}).get(split, {}) if name in known):
            caption = "Dashed: beyond the rows that there are. Dotted: the floor. Band: 95%, if the law holds."
            drawn.insert(0, (f"Learning curve, {METRICS[metric]}", pictures.learning(axis, split, metric), caption))
        if "collisions" in axis["variants"][0]:
            caption = "Blue: of distinct n-grams; orange: weighted by how often they occur."
            drawn.append(("Collisions", pictures.collisions(axis), caption))
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
                    Picture(title, [svg], f"{axis['title']}: {title}; the figures stand in the table", caption)
                    for title, svg, caption in drawn
                ],
                "conclusions": conclusions(axis),
            }
        )
    return render_page(TEMPLATE, figures=figures, sections=sections, notes=notes(figures))
