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


def titles(figures: Figures, axis: Figures) -> list[str]:
    """Column titles of an axis's table."""
    split, primary = split_of(figures), METRICS[figures["primary"]]
    columns = ["variant", "rows", f"valid {primary}"] if split == "test" else ["variant", "rows"]
    for name in metrics_of(figures):
        columns += [f"{split} {METRICS[name]}", "95%"]
    columns += [f"Δ {primary}", "95%", "fidelity", "train", "MB"]
    return columns + (["shared", "weighted"] if "collisions" in axis["variants"][0] else [])


def cells(figures: Figures, axis: Figures) -> list[list[str]]:
    """An axis's table: the best variant by validation has a star, the recipe's own stands as zero of the differences."""
    split, primary = split_of(figures), figures["primary"]
    rows = []
    for one in axis["variants"]:
        mark = (" *" if one["name"] == axis["best"] else "") + (" (recipe)" if one["base"] else "")
        row = [one["name"] + mark, f"{one['rows']:,}"]
        if split == "test":
            row.append(figure(one["valid"][primary]["value"]))
        for name in metrics_of(figures):
            found = one[split][name]
            row += [figure(found["value"]), span(found["ci95"])]
        found = one[split][primary]
        if one["base"] or found.get("difference") is None:
            row += ["–", ""]
        else:
            limits = found["difference_ci95"]
            row.append(f"{100 * found['difference']:+.1f}")
            row.append("" if limits is None else f"{100 * limits[0]:+.1f} to {100 * limits[1]:+.1f}")
        row += [percent(one[split]["fidelity"]["value"]), f"{one['train_seconds']:,.0f} s", f"{one['megabytes']:,.1f}"]
        if "collisions" in one:
            row += [percent(one["collisions"]["shared"]), percent(one["collisions"]["shared_weighted"])]
        rows.append(row)
    return rows


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
        lines += [axis["title"], layout([titles(figures, axis), *cells(figures, axis)]), *conclusions(axis), ""]
    return "\n".join([*lines, *notes(figures)])


def notes(figures: Figures) -> list[str]:
    """What holds for all tables."""
    split = split_of(figures)
    found = [
        f"* best on validation ({METRICS[figures['primary']]}), where choices are read. Δ: points less the recipe's, "
        f"over the same resamples. {figures['seeds']} seed(s); {split} figures are means over them."
    ]
    teacher = figures["teacher"].get(split)
    if teacher:
        told = [f"{METRICS[name]} {figure(teacher[name]['value'])}" for name in metrics_of(figures) if name in teacher]
        found.append(f"Teacher on the {split} split: {', '.join(told)}. Fidelity: decides as the teacher.")
    if split == "test":
        found.append(f"The test split was looked at {len(figures['test_looks'])} time(s) by sweeps of this run.")
    return found


def _within(limits: Sequence[float] | None, scale: float = 1) -> str:
    if limits is None:
        return ""
    digits = 1 if scale == 100 else 3
    return f" (95%: {scale * limits[0]:.{digits}f} to {scale * limits[1]:.{digits}f})"
