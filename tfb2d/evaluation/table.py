"""The short table at the end of a run, and the formats of its figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfb2d.evaluation.contrasts import contrast_line
from tfb2d.evaluation.models import DISTILLED, MODELS

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
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "ece": "ECE",
    "log_loss": "log loss",
}


def figure(value: float | None, digits: int = 3) -> str:
    """Formats a number of a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(ci95: Sequence[float] | None) -> str:
    """Formats an interval as `0.801–0.829`; nothing where there is none."""
    return "" if ci95 is None else f"{ci95[0]:.3f}–{ci95[1]:.3f}"


def percent(value: float | None) -> str:
    """Formats a share as a percentage."""
    return "–" if value is None else f"{100 * value:.1f}%"


def within(ci95: Sequence[float] | None, show: Callable[[float], str] = percent, what: str = "") -> str:
    """Formats an interval as ` (80.1% to 82.9%)`, to follow its figure; nothing where there is none."""
    return "" if ci95 is None else f" ({what}{show(ci95[0])} to {show(ci95[1])})"


def points(value: float) -> str:
    """Formats a difference of shares in points, with its sign."""
    return f"{100 * value:+.1f}"


def named_line(name: str, text: str) -> str:
    """Formats a line of a command's output: its name in a column of its own, and the text."""
    return f"{name:10s} {text}".rstrip()


def ndcg_note(counts: Mapping[str, int], means: Mapping[str, float | None]) -> str:
    """Says which groups the mean NDCG@10 counts (`ranking.ndcg_groups`), and each model's mean over all groups."""
    all_means = ", ".join(f"{name} {figure(mean)}" for name, mean in means.items())
    return (
        f"NDCG@10 counts {counts['counted']:,} of {counts['all']:,} groups: those of two rows or more, one of them "
        f"relevant. Over all groups, as scikit-learn and trec_eval count: {all_means}"
    )


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
    """Returns (key, title, metrics) of the models that a report has figures of, in the order of MODELS.

    Beside MODELS' keys there are each of several teachers, by its name.
    """
    rows = []
    for key, title in MODELS.items():
        if report.get(key) is not None:
            stacked = key == "teacher" and len(report["teachers"]) > 1
            rows.append((key, "teachers, stacked" if stacked else title, report[key]))
        if key == "teacher":
            alone = {name: figures for name, figures in report["teachers"].items() if figures is not None}
            rows += [(name, f"teacher {name}", figures) for name, figures in alone.items()]
    return rows


def baseline_rows(report: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Returns what needs no training, as `model_rows` does: BM25 of pairs, and the majority class in random order."""
    titles = {"bm25": MODELS["bm25"], "constant": "majority, random order"}
    baselines = report.get("baselines", {})
    return [(key, title, baselines[key]) for key, title in titles.items() if baselines.get(key)]


def measures_beside(report: Mapping[str, Any]) -> list[str]:
    """Returns the measures that a short table shows beside the headline measure."""
    measure, task = report["headline_measure"], report["task"]
    pairs = len(task.get("fields", ())) == 2
    if task["kind"] == "graded":
        names = ["spearman", "ndcg10" if pairs else "pearson", "rmse"]
    elif task["kind"] == "multiclass":
        names = ["accuracy", "macro_f1"]
    elif pairs:
        names = ["roc_auc", "ndcg10", "accuracy"]
    else:
        names = ["accuracy", "roc_auc"] if measure == "accuracy" else ["roc_auc", "pr_auc", "f1"]
    return [name for name in names if name != measure][:2]


def speed_up(report: Mapping[str, Any], key: str = "student") -> float | None:
    """Returns how many times faster than the teacher a model answers one row, at the median."""
    times = [report["latency"].get(name, {}).get("single_ms", {}).get("p50") for name in ("teacher", key)]
    return times[0] / times[1] if all(times) else None


def print_table(report: Mapping[str, Any]) -> str:
    """Lays out the short table and the conclusions of a `report.json` as text for a terminal."""
    measure, beside = report["headline_measure"], measures_beside(report)
    titles = [METRICS[measure], "95% interval", *(METRICS[name] for name in beside), "p50", "p99", "rows/s", "size"]
    rows = [["test split", *titles]]
    for key, title, figures in [*model_rows(report), *baseline_rows(report)]:
        main = [figure(figures.get(measure)), span(report["intervals"].get(key, {}).get(measure))]
        rows.append([title, *main, *(figure(figures.get(name)) for name in beside), *costs(report, key)])
    return "\n".join([layout(rows), "", *_conclusions(report)])


def costs(report: Mapping[str, Any], key: str) -> list[str]:
    """Returns a model's median and 99th percentile for one row, rows a second and size; a dash where one is not known."""
    latency, size = report["latency"].get(key, {}), report["size_mb"].get(key)
    single, speed = latency.get("single_ms", {}), latency.get("rows_per_second")
    times = [duration(single.get(name)) for name in ("p50", "p99")]
    return [*times, "–" if speed is None else f"{speed:,.0f}", "–" if size is None else f"{size:,.1f} MB"]


def distilled_models(report: Mapping[str, Any]) -> list[str]:
    """Returns the keys of the models that learnt from the teacher; the first is the one that leads."""
    return [key for key in DISTILLED if report.get(key) is not None]


def over_bm25(report: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns (measure's title, share) of the way from BM25 to the teacher that a model has come, where there are any."""
    measures = {"over_bm25": report["headline_measure"], "ndcg10_over_bm25": "ndcg10"}
    shares = {measure: report["compared"][key].get(name) for name, measure in measures.items()}
    return [(METRICS[name], share) for name, share in shares.items() if share and share["value"] is not None]


def _conclusions(report: Mapping[str, Any]) -> list[str]:
    lines, several = [], len(distilled_models(report)) > 1
    for key in distilled_models(report):
        whose = f"{MODELS[key]}: " if several else ""
        lines += [named_line(label, whose + text) for label, text in _of_model(report, key)]
    if report.get("ndcg_groups"):
        counts = report["ndcg_groups"]
        means = [(title, figures["ndcg10_all"]) for _, title, figures in model_rows(report) if title != "BM25"]
        shown = [(title, mean) for title, mean in means if title in ("teacher", *DISTILLED)]
        over_all = ", ".join(f"{title} {figure(mean)}" for title, mean in shown)
        counted = f"NDCG@10 counts {counts['counted']:,} of {counts['all']:,}"
        lines.append(named_line("groups", f"{counted}; over all: {over_all}"))
    if compression := report.get("compression"):
        lines.append(named_line("size", _smaller(compression)))
    left_out = f"{report['leaked']:,} removed because the test text occurs in training data"
    test_rows = f"{report['rows']['test']:,} in the test split; {report['rejected']:,} rejected"
    lines.append(named_line("rows", f"{test_rows}, {left_out}"))
    if made := report["data"].get("made_pairs"):
        of_titles = f"{made['title_queries']:,} made of titles, {made['titles']:,} titles"
        lines.append(named_line("pairs", f"{made['pairs']:,} made: {made['queries']:,} queries, {of_titles}"))
    return lines + [named_line("warning", warning) for warning in report.get("warnings", ())]


def _of_model(report: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
    """Returns (label, conclusion) of one distilled model."""
    compared, figures, lines = report["compared"][key], report[key], []
    measure = METRICS[report["headline_measure"]]

    def shown(name: str, form: str) -> str:
        result = compared.get(name)
        if result is None or result["value"] is None:
            return ""
        return form.format(percent(result["value"])) + within(result["ci95"])

    lines.append(("retention", shown("headline_retention", f"{{}} of the teacher's {measure}")))
    if ranking := shown("ndcg10_retention", "{} of the teacher's NDCG@10"):
        lines.append(("ranking", f"{ranking}; its own is {figure(figures['ndcg10'])}"))
    shares = [f"{percent(share['value'])}{within(share['ci95'])} by {name}" for name, share in over_bm25(report, key)]
    if shares:
        lines.append(("over BM25", f"on the way to the teacher: {', '.join(dict.fromkeys(shares))}"))
    lines.append(("fidelity", shown("fidelity", "decides as the teacher on {}")))
    gain = compared.get("headline_gain")
    if gain and gain["value"] is not None:
        of = "" if measure == "accuracy" else f" of {measure}"
        gained = f"{points(gain['value'])} points{of} over labels alone{within(gain['ci95'], points)}"
        lines.append(("gain", gained))
    if chosen := report["thresholds"].get(key):
        values = ", ".join(f"{name} {figure(chosen[name])}" for name in ("f1", "precision", "recall"))
        lines.append(("threshold", f"{figure(chosen['threshold'])}, chosen on validation: {values}"))
    faster = speed_up(report, key)
    if faster is not None and faster >= 2:
        lines.append(("speed", f"{faster:,.0f} times the teacher's, one row at a time"))
    if contrasts := report.get("contrasts"):
        lines.append(("negation", contrast_line(contrasts, key)))
    if embedding := report["latency"].get(f"{key}_embed_query"):
        single = embedding["single_ms"]
        lines.append(("embedding", f"a query in {duration(single['p50'])}, p99 {duration(single['p99'])}"))
    return [(label, text) for label, text in lines if text]


def _smaller(compression: Mapping[str, Any]) -> str:
    megabytes, figures = compression["megabytes"], compression["figures"]
    before, after = figures["float"]["test"], figures["served"]["test"]
    share = percent(megabytes["served"] / megabytes["float"])
    line = f"{megabytes['served']:,.1f} MB of weights served, {share} of those trained"
    if None in (before["accuracy"], after["accuracy"], before["roc_auc"], after["roc_auc"]):
        return line
    points, area = 100 * (after["accuracy"] - before["accuracy"]), after["roc_auc"] - before["roc_auc"]
    return f"{line}; accuracy {points:+.2f} points, ROC-AUC {area:+.4f} by it"
