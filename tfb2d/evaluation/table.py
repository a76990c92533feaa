"""The short table at the end of a run, and the formats of its figures."""

from collections.abc import Mapping, Sequence
from typing import Any

METRICS = {
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "ndcg10": "NDCG@10",
    "ndcg10_all": "NDCG@10, all groups",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "pair_order": "pairs in order",
    "rmse": "RMSE",
    "macro_f1": "macro F1",
    "ece": "ECE",
    "log_loss": "log loss",
}
LESS_IS_BETTER = ("rmse", "ece", "log_loss")
MODELS = {"teacher": "teacher", "student": "student", "labels_only": "student, labels only"}


def figure(value: float | None, digits: int = 3) -> str:
    """Formats a number of a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(ci95: Sequence[float] | None, digits: int = 3) -> str:
    """Formats an interval as `0.801–0.829`; nothing where there is none."""
    return "" if ci95 is None else f"{ci95[0]:.{digits}f}–{ci95[1]:.{digits}f}"


def ndcg_note(counts: Mapping[str, int], means: Mapping[str, float | None]) -> str:
    """Says which groups the mean NDCG@10 counts, and what the mean over all groups is.

    Args:
      counts: of `metrics.ndcg_groups`.
      means: a model's title -> its `ndcg10_all`.
    """
    all_means = ", ".join(f"{name} {figure(mean)}" for name, mean in means.items())
    return (
        f"NDCG@10 counts {counts['counted']:,} of {counts['all']:,} groups: those of two rows or more, one of them "
        f"relevant. Over all groups, as scikit-learn and trec_eval count: {all_means}"
    )


def percent(value: float | None, digits: int = 1) -> str:
    """Formats a share as a percentage."""
    return "–" if value is None else f"{100 * value:.{digits}f}%"


def duration(milliseconds: float | None) -> str:
    """Formats a latency in the unit that reads best: `85 µs`, `1.4 ms`, `52 ms`, `1.2 s`."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def long_duration(seconds: float) -> str:
    """Formats a time of seconds to hours: `8 s`, `2 min 05 s`, `1 h 02 min`; "?" of NaN."""
    if seconds != seconds:
        return "?"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s" if minutes else f"{left} s"


def layout(rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows as aligned columns under the first one: texts to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines.insert(1, "─" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def model_rows(report: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Returns (key, title, metrics) of the models that a report has figures of, in the order of MODELS."""
    rows = []
    for key, title in MODELS.items():
        if report[key] is not None:
            stacked = key == "teacher" and len(report["teachers"]) > 1
            rows.append((key, "teachers, stacked" if stacked else title, report[key]))
        if key == "teacher":
            alone = {name: figures for name, figures in report["teachers"].items() if figures is not None}
            rows += [(name, f"teacher {name}", figures) for name, figures in alone.items()]
    return rows


def baseline_rows(report: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Returns the baseline without a model, as `model_rows` does: the majority class, in random order."""
    constant = report.get("baselines", {}).get("constant")
    return [("constant", "majority, random order", constant)] if constant else []


def speed_up(report: Mapping[str, Any]) -> float | None:
    """Returns how many times faster than the teacher the student answers one row, at the median."""
    times = [report["latency"].get(name, {}).get("single_ms", {}).get("p50") for name in ("teacher", "student")]
    return times[0] / times[1] if all(times) else None


def print_table(report: Mapping[str, Any]) -> str:
    """Lays out a report's short table and conclusions as text for a terminal.

    Args:
      report: of `write_report`, or the content of `report.json`.
    """
    measure = report.get("headline_measure") or "accuracy"
    beside = "roc_auc" if measure == "accuracy" else "accuracy"
    rows = [["test split", METRICS[measure], "95% interval", METRICS[beside], "p50", "p99", "rows/s", "size"]]
    for key, title, figures in [*model_rows(report), *baseline_rows(report)]:
        latency, size = report["latency"].get(key, {}), report["size_mb"].get(key)
        single, speed = latency.get("single_ms", {}), latency.get("rows_per_second")
        rows.append(
            [
                title,
                figure(figures.get(measure)),
                span(report["intervals"].get(key, {}).get(measure)),
                figure(figures[beside]),
                duration(single.get("p50")),
                duration(single.get("p99")),
                "–" if speed is None else f"{speed:,.0f}",
                "–" if size is None else f"{size:,.1f} MB",
            ]
        )
    return "\n".join([layout(rows), "", *_conclusions(report)])


def _conclusions(report: Mapping[str, Any]) -> list[str]:
    intervals, lines = report["intervals"], []
    measure = METRICS[report["headline_measure"]]
    if report["headline_retention"] is not None:
        kept, within = percent(report["headline_retention"]), _within(intervals["headline_retention"])
        lines.append(f"retention  {kept} of the teacher's {measure}{within}")
    if report["ndcg10_retention"] is not None:
        kept, within = percent(report["ndcg10_retention"]), _within(intervals["ndcg10_retention"])
        own = figure(report["student"]["ndcg10"])
        lines.append(f"ranking    {kept} of the teacher's NDCG@10{within}; its own is {own}")
    if report.get("ndcg_groups"):
        counts = report["ndcg_groups"]
        means = {
            key: model_figures["ndcg10_all"]
            for key in ("teacher", "student")
            if (model_figures := report[key]) is not None
        }
        over_all = ", ".join(f"{name} {figure(mean)}" for name, mean in means.items())
        lines.append(f"groups     NDCG@10 counts {counts['counted']:,} of {counts['all']:,}; over all: {over_all}")
    if report["fidelity"] is not None:
        lines.append(
            f"fidelity   decides as the teacher on {percent(report['fidelity'])}{_within(intervals['fidelity'])}"
        )
    if report["headline_gain"] is not None:
        low_high = intervals["headline_gain"]
        within = "" if low_high is None else f" ({100 * low_high[0]:+.1f} to {100 * low_high[1]:+.1f})"
        of = "" if measure == "accuracy" else f" of {measure}"
        lines.append(f"gain       {100 * report['headline_gain']:+.1f} points{of} over labels alone{within}")
    for name, model_figures in report["thresholds"].items():
        if name == "student":
            figures = ", ".join(f"{key} {figure(model_figures[key])}" for key in ("f1", "precision", "recall"))
            lines.append(f"threshold  {figure(model_figures['threshold'])}, chosen on validation: {figures}")
    faster = speed_up(report)
    if faster is not None:
        lines.append(f"speed      {faster:,.0f} times the teacher's, one row at a time" if faster >= 2 else "")
    if compression := report.get("compression"):
        lines.append(f"size       {_smaller(compression)}")
    lines.append(
        f"rows       {report['rows']['test']:,} in the test split; {report['rejected']:,} rejected, "
        f"{report['leaked']:,} removed because the test text occurs in training data"
    )
    lines += [f"warning    {warning}" for warning in report.get("warnings", ())]
    return [line for line in lines if line]


def _smaller(compression: Mapping[str, Any]) -> str:
    megabytes, figures = compression["megabytes"], compression["figures"]
    before, after = figures["float"]["test"], figures["served"]["test"]
    share = percent(megabytes["served"] / megabytes["float"])
    line = f"{megabytes['served']:,.1f} MB of weights served, {share} of those trained"
    if None in (before["accuracy"], after["accuracy"], before["roc_auc"], after["roc_auc"]):
        return line
    points, area = 100 * (after["accuracy"] - before["accuracy"]), after["roc_auc"] - before["roc_auc"]
    return f"{line}; accuracy {points:+.2f} points, ROC-AUC {area:+.4f} by it"


def _within(ci95: Sequence[float] | None) -> str:
    return "" if ci95 is None else f" ({percent(ci95[0])} to {percent(ci95[1])})"
