"""A sweep's tables, for the terminal and for the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfb2d.evaluation.table import METRICS, figure, layout, percent, span

Figures = Mapping[str, Any]


def metrics_of(figures: Figures) -> list[str]:
    """The metrics shown: accuracy, ROC-AUC, and NDCG@10 of ranked pairs."""
    first = figures["axes"][0]["variants"][0]["valid"]
    pairs = len(figures["task"]["fields"]) == 2
    return [name for name in ("accuracy", "roc_auc", "ndcg10") if name in first and (name != "ndcg10" or pairs)]


def split_of(figures: Figures) -> str:
    """The split whose figures head the tables."""
    return "test" if "test" in figures["axes"][0]["variants"][0] else "valid"


def columns(figures: Figures, axis: Figures) -> list[tuple[str, list[tuple[str, str]]]]:
    """An axis's table by columns: the title, and for every variant the figure and its interval ("" where none).

    The best variant by validation has a star; differences are points of the primary metric less the recipe's figure.
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
        table.append((f"{split} {METRICS[name]}", [(figure(variant["value"]), span(variant["ci95"])) for variant in results]))
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
    within = "" if limits is None else f"{100 * limits[0]:+.1f} to {100 * limits[1]:+.1f}"
    return f"{100 * result['difference']:+.1f}", within


def _lines(figures: Figures, axis: Figures) -> list[list[str]]:
    """The table with intervals in columns of their own."""
    flat: list[list[str]] = []
    for title, cells in columns(figures, axis):
        flat.append([title, *(value for value, _ in cells)])
        if any(small for _, small in cells):
            flat.append(["95%", *(small for _, small in cells)])
    return [list(row) for row in zip(*flat, strict=True)]


def conclusions(axis: Figures) -> list[str]:
    """What the learning curve says, in sentences; nothing for other axes."""
    lines = []
    for split, curves in axis.get("curves", {}).items():
        for metric, curve in curves.items():
            name = METRICS[metric]
            if "none" in curve:
                lines.append(f"{split} {name}: no curve ({curve['none']})")
                continue
            gain, floor = curve["times10"]["gain"], curve["floor"]
            lines.append(
                f"{split} {name}: error = {floor['value']:.3f} + {curve['scale']['value']:.3g} rows^-"
                f"{curve['rate']['value']:.2f}; 10 times more than {curve['at']:,.0f} rows would buy "
                f"{100 * gain['value']:.1f} points{_within(gain['ci95'], 100)}; the floor is {floor['value']:.3f}"
                f"{_within(floor['ci95'])}"
            )
    return lines


def print_tables(figures: Figures) -> str:
    """All of a sweep as text for a terminal."""
    lines = []
    for axis in figures["axes"]:
        lines += [axis["title"], layout(_lines(figures, axis)), *conclusions(axis), ""]
    return "\n".join([*lines, *notes(figures)])


def notes(figures: Figures) -> list[str]:
    """What holds for all tables."""
    split = split_of(figures)
    lines = [
        f"* best on validation ({METRICS[figures['primary']]}), where choices are read. Δ: points less the base's, "
        "the recipe's own settings, "
        f"over the same resamples. {figures['seeds']} seed(s); {split} figures are means over them. "
        "MB: float weights, before a run's compression."
    ]
    teacher = figures["teacher"].get(split)
    if teacher:
        measures = [f"{METRICS[name]} {figure(teacher[name]['value'])}" for name in metrics_of(figures) if name in teacher]
        lines.append(f"Teacher on the {split} split: {', '.join(measures)}. Fidelity: decides as the teacher.")
    if split == "test":
        lines.append(f"The test split was looked at {len(figures['test_looks'])} time(s) by sweeps into this folder.")
    return lines


def _within(limits: Sequence[float] | None, scale: float = 1) -> str:
    if limits is None:
        return ""
    digits = 1 if scale == 100 else 3
    return f" (95%: {scale * limits[0]:.{digits}f} to {scale * limits[1]:.{digits}f})"
