"""A sweep's tables, for the terminal and for the page."""

from collections.abc import Mapping
from typing import Any

from tfb2d.evaluation.table import METRICS, figure, layout, percent, points, span, within

Figures = Mapping[str, Any]


def metrics_of(figures: Figures) -> list[str]:
    """Returns the metrics that tables show: the headline measure, accuracy, ROC-AUC, and NDCG@10 of ranked pairs."""
    first = figures["axes"][0]["variants"][0]["valid"]
    pairs = len(figures["task"]["fields"]) == 2
    names = dict.fromkeys((figures["primary"], "accuracy", "roc_auc", "ndcg10"))
    return [name for name in names if name in first and (name != "ndcg10" or pairs)]


def split_of(figures: Figures) -> str:
    """Returns the split that tables show: "test" where it was evaluated, otherwise "valid"."""
    return "test" if "test" in figures["axes"][0]["variants"][0] else "valid"


def columns(figures: Figures, axis: Figures) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns an axis's table by columns: the title, and each variant's (figure, interval); "" is no interval.

    The best variant by validation has a star. Differences are points of the headline measure from the recipe's figure.
    """
    split, primary = split_of(figures), figures["primary"]
    variants = axis["variants"]
    table = [
        ("variant", [(_name(axis, variant), "") for variant in variants]),
        ("rows", [(f"{variant['rows']:,}", "") for variant in variants]),
    ]
    if split == "test":
        name = f"valid {METRICS[primary]}"
        table.append((name, [(figure(variant["valid"][primary]["value"]), "") for variant in variants]))
    for name in metrics_of(figures):
        results = [variant[split][name] for variant in variants]
        cells = [(figure(result["value"]), span(result["ci95"])) for result in results]
        table.append((f"{split} {METRICS[name]}", cells))
    table += [
        (f"Δ {METRICS[primary]}", [_difference(variant, variant[split][primary]) for variant in variants]),
        ("fidelity", [(percent(variant[split]["fidelity"]["value"]), "") for variant in variants]),
        ("train", [(f"{variant['train_seconds']:,.0f} s", "") for variant in variants]),
        ("MB", [(f"{variant['megabytes']:,.1f}", "") for variant in variants]),
    ]
    if "collisions" in variants[0]:
        shares = [variant["collisions"] for variant in variants]
        table.append(("sharing a row", [(percent(variant["shared"]), "") for variant in shares]))
        table.append(("by frequency", [(percent(variant["shared_weighted"]), "") for variant in shares]))
    return table


def _name(axis: Figures, variant: Figures) -> str:
    star = " *" if variant["name"] == axis["best"] else ""
    return variant["name"] + star + (" (base)" if variant["base"] else "")


def _difference(variant: Figures, result: Figures) -> tuple[str, str]:
    if variant["base"] or result.get("difference") is None:
        return "–", ""
    limits = result["difference_ci95"]
    return points(result["difference"]), "" if limits is None else f"{points(limits[0])} to {points(limits[1])}"


def _lines(figures: Figures, axis: Figures) -> list[list[str]]:
    """Returns the rows of the table, with intervals in columns of their own."""
    flat: list[list[str]] = []
    for title, cells in columns(figures, axis):
        flat.append([title, *(value for value, _ in cells)])
        if any(small for _, small in cells):
            flat.append(["95%", *(small for _, small in cells)])
    return [list(row) for row in zip(*flat, strict=True)]


def conclusions(axis: Figures) -> list[str]:
    """Says what the learning curve shows, in sentences; returns none for other axes."""
    lines = []
    for split, curves in axis.get("curves", {}).items():
        for metric, curve in curves.items():
            name = METRICS[metric]
            if "none" in curve:
                lines.append(f"{split} {name}: no curve ({curve['none']})")
                continue
            gain, floor = curve["times10"]["gain"], curve["floor"]
            gained = within(gain["ci95"], lambda share: f"{100 * share:.1f}", "95%: ")
            lines.append(
                f"{split} {name}: error = {floor['value']:.3f} + {curve['scale']['value']:.3g} rows^-"
                f"{curve['rate']['value']:.2f}; 10 times more than {curve['at']:,.0f} rows would buy "
                f"{100 * gain['value']:.1f} points{gained}; the floor is {floor['value']:.3f}"
                f"{within(floor['ci95'], figure, '95%: ')}"
            )
    return lines


def print_tables(figures: Figures) -> str:
    """Lays out all tables of a sweep as text for a terminal."""
    lines = []
    for axis in figures["axes"]:
        lines += [axis["title"], layout(_lines(figures, axis)), *conclusions(axis), ""]
    return "\n".join([*lines, *notes(figures)])


def notes(figures: Figures) -> list[str]:
    """Returns sentences that hold for all tables."""
    split = split_of(figures)
    lines = [
        f"* best on validation by {METRICS[figures['primary']]}; choices are read there. Δ: difference from the base (the "
        f"recipe's own settings) in points, over the same resamples. {split} figures are means over "
        f"{figures['seeds']} seed(s). MB: float weights, before compression."
    ]
    teacher = figures["teacher"].get(split)
    if teacher:
        known = [name for name in metrics_of(figures) if name in teacher]
        measures = ", ".join(f"{METRICS[name]} {figure(teacher[name]['value'])}" for name in known)
        lines.append(f"Teacher on the {split} split: {measures}. Fidelity: share of rows decided as the teacher does.")
    if split == "test":
        lines.append(f"The test split was looked at {len(figures['test_looks'])} time(s) by sweeps into this folder.")
    return lines
