"""The report of a run: `report.json` for programs, and a page for people with headline, cards, tables and pictures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.atomic import write_atomic, write_json
from tfb2d.evaluation import pictures
from tfb2d.evaluation.contrasts import contrast_note, contrast_table
from tfb2d.evaluation.examples import examples
from tfb2d.evaluation.metrics import LESS_IS_BETTER
from tfb2d.evaluation.models import MODELS, covered
from tfb2d.evaluation.pictures import Series
from tfb2d.evaluation.results import RunResults, histories, summarise
from tfb2d.evaluation.scores import Floats, check_labels, check_scores, decisions, hits, kind_of
from tfb2d.evaluation.table import (
    METRICS,
    baseline_rows,
    costs,
    distilled_models,
    duration,
    figure,
    long_duration,
    model_rows,
    ndcg_note,
    over_bm25,
    percent,
    points,
    span,
    speed_up,
    within,
)
from tfb2d.report.page import Picture, card, table_row
from tfb2d.report.page import render as render_page

TEMPLATE = Path(__file__).with_name("report.html")


def write_report(run: RunResults, out: str | Path) -> dict[str, Any]:
    """Writes `<out>/report.json` and `<out>/report.html`, each whole or not at all.

    Returns what `report.json` holds; see `results.summarise`.
    """
    report = summarise(run)
    write_atomic(Path(out) / "report.html", render(run, report))
    write_json(Path(out) / "report.json", report)
    return report


def render(run: RunResults, report: Mapping[str, Any]) -> str:
    """Returns the page of a run and its `results.summarise`; whatever comes from data is escaped."""
    return render_page(
        TEMPLATE,
        report=report,
        headline=headline(report),
        cards=cards(report),
        table=table(report),
        ndcg_note=ranking_note(report),
        threshold_notes=threshold_notes(report),
        pictures=_pictures(run, report),
        trainings=_trainings(run),
        examples=examples(run),
        contrasts=contrast_table(report["contrasts"]) if report["contrasts"] else None,
        contrast_note=contrast_note(report["contrasts"]) if report["contrasts"] else "",
        counts=_counts(report["data"]),
        stages=_stages(report["seconds"]),
        config=json.dumps(report["config"], indent=2, ensure_ascii=False),
    )


def headline(report: Mapping[str, Any]) -> str:
    """Returns the run's main result as a sentence."""
    key, measure = report["leading"], report["headline_measure"]
    kept, faster, title = report["headline_retention"], speed_up(report, key), MODELS[key]
    if kept is None and measure == "accuracy":
        return f"The {title} decides {percent(report[key]['accuracy'])} of the test split correctly."
    if kept is None:
        return f"The {title}'s {METRICS[measure]} on the test split is {figure(report[key][measure])}."
    speed = f" and answers {faster:,.0f} times as fast" if faster is not None and faster >= 2 else ""
    others = [(other, report["compared"][other]["headline_retention"]) for other in distilled_models(report)[1:]]
    also = "".join(f"; the {MODELS[other]} keeps {percent(share['value'])}" for other, share in others)
    return f"The {title} keeps {percent(kept)} of the teacher's {METRICS[measure]}{speed}{also}."


def cards(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the figures that matter most, as cards."""
    shown = [card("Doubtful", "!", warning) for warning in report.get("warnings", ())]
    several = len(distilled_models(report)) > 1
    for key in distilled_models(report):
        whose = f", {MODELS[key]}" if several else ""
        shown += [card(title + whose, value, note) for title, value, note in _cards(report, key)]
    return shown


def _cards(report: Mapping[str, Any], key: str) -> list[tuple[str, str, str]]:
    """Returns (title, value, note) of one distilled model's cards."""
    compared, measure = report["compared"][key], METRICS[report["headline_measure"]]
    shown: list[tuple[str, str, str]] = []

    def add(title: str, name: str, note: str, show: Callable[[float], str] = percent) -> None:
        result = compared.get(name)
        if result and result["value"] is not None:
            shown.append((title, show(result["value"]), note + within(result["ci95"], show, "95%: ")))

    add("Retention", "headline_retention", f"{MODELS[key]}'s {measure} over teacher's")
    add("Ranking", "ndcg10_retention", f"{MODELS[key]}'s NDCG@10 over teacher's")
    for name, share in over_bm25(report, key)[:1]:
        shown.append(("Over BM25", percent(share["value"]), f"of what the teacher gains over BM25, by {name}"))
    add("Fidelity", "fidelity", "of rows decided as the teacher does")
    add("Gain", "headline_gain", f"points of {measure} over the same student trained on labels alone", points)
    own, teacher = (report["latency"].get(name, {}).get("single_ms", {}) for name in (key, "teacher"))
    if own:
        than = f"; the teacher takes {duration(teacher['p50'])}" if teacher else ""
        embedding = report["latency"].get(f"{key}_embed_query", {}).get("single_ms")
        than += f"; a query alone {duration(embedding['p50'])}" if embedding else ""
        shown.append(("Latency", duration(own["p50"]), f"median for one row, strings in{than}"))
    if key in report["size_mb"]:
        than = f"; the teacher has {report['size_mb']['teacher']:,.0f} MB" if "teacher" in report["size_mb"] else ""
        shown.append(("Size", f"{report['size_mb'][key]:,.1f} MB", f"on disk{than}"))
    return shown


def table(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary: column titles, and a row of (figure, small print) for each model."""
    first, known = report["headline_measure"], report[report["leading"]]
    small = (first, "ndcg10_all", "precision", "recall")  # these stand below the table
    names = [first, *(name for name in METRICS if name in known and name not in small)]
    titles = [METRICS[name] + (" ↓" if name in LESS_IS_BETTER else "") for name in names]
    rows = []
    for key, title, figures in [*model_rows(report), *baseline_rows(report)]:
        intervals = report["intervals"].get(key, {})
        cells = [(figure(figures.get(name)), span(intervals.get(name))) for name in names]
        p50, p99, speed, size = costs(report, key)
        cells += [(p50, "" if p99 == "–" else f"p99 {p99}"), (speed, ""), (size, "")]
        rows.append(table_row([(title, ""), *cells], key if key in (*MODELS, "constant") else "teacher"))
    return {"titles": ["model", *titles, "one row", "rows/s", "size"], "rows": rows}


def threshold_notes(report: Mapping[str, Any]) -> list[str]:
    """Says from which score on each distilled model answers "yes", and how well."""
    chosen = {key: report["thresholds"][key] for key in distilled_models(report) if key in report["thresholds"]}
    return [
        f"The {MODELS[key]} says yes from {figure(figures['threshold'])} on, chosen on validation: its F1 is "
        f"{figure(figures['f1'])}, its precision {figure(figures['precision'])}, its recall {figure(figures['recall'])}."
        for key, figures in chosen.items()
    ]


def ranking_note(report: Mapping[str, Any]) -> str:
    """Says which groups NDCG@10 counts, of a report of rankings; otherwise nothing."""
    counts = report["ndcg_groups"]
    return (
        ndcg_note(counts, {title: figures["ndcg10_all"] for _, title, figures in model_rows(report)}) if counts else ""
    )


def _pictures(run: RunResults, report: Mapping[str, Any]) -> list[Picture]:
    kind = kind_of(run.task)
    labels = check_labels(kind, run.labels, check_scores(kind, run.models[run.leading].scores))
    drawn_models = {key: figures for key, _, figures in model_rows(report) if key in run.models}
    series = [_series(key, labels, run.models[key].scores) for key in drawn_models]
    legend = [(model.key, model.title) for model in series]

    def spoken(metric: str) -> str:
        return "; ".join(f"{MODELS[key]} {figure(figures[metric])}" for key, figures in drawn_models.items())

    many = "; the mean over the classes, each against the rest" if kind == "multiclass" else ""
    drawn = [
        Picture(
            "ROC curves",
            [pictures.roc(kind, series)],
            f"ROC curves. Area under them: {spoken('roc_auc')}.",
            f"True against false positives, at every threshold{many}.",
            legend,
        ),
        Picture(
            "Calibration",
            [pictures.calibration(kind, series)],
            f"Calibration curves. Expected calibration error: {spoken('ece')}.",
            "A score of 0.8 should come true 8 times in 10. Every dot is a tenth of the rows.",
            legend,
        ),
    ]
    all_teacher = run.teacher_scores
    if all_teacher is None:
        return drawn
    rows = covered(all_teacher)
    teacher = all_teacher[rows]
    for key in run.distilled:
        title, own = MODELS[key], np.asarray(run.models[key].scores, np.float64)[rows]
        svg = pictures.scatter(teacher, own, hits(kind, labels[rows], own), key)
        marks = "Darker: more rows." if len(own) > pictures.CROWD else f"Crosses: the {title} decides wrongly."
        alike = percent(report["compared"][key]["fidelity"]["value"])
        alt = f"The {title}'s scores against the teacher's. They decide alike on {alike}."
        caption = f"{_quadrants(teacher, own, title)} {marks}"
        drawn.append(Picture(f"{title[:1].upper()}{title[1:]} against teacher", [svg], alt, caption))
    return drawn


def _series(key: str, labels: Floats, scores: ArrayLike) -> Series:
    rows = covered(np.asarray(scores))
    return Series(key, MODELS[key], labels[rows], np.asarray(scores, np.float64)[rows])


def _quadrants(teacher: Floats, own: Floats, title: str) -> str:
    if teacher.ndim == 2:
        return "The probability that each gives to the class that the teacher decides for."
    yes, also = decisions(teacher) == 1, decisions(own) == 1
    alone = f"the teacher alone says yes on {percent((yes & ~also).mean())}, the {title} alone on"
    both = f"Both say yes on {percent((yes & also).mean())} of the rows, both no on {percent((~yes & ~also).mean())}"
    return f"{both}; {alone} {percent((~yes & also).mean())}."


def _trainings(run: RunResults) -> list[Picture]:
    drawn = []
    for index, (name, history) in enumerate(histories(run).items()):
        svgs = pictures.training(index, name if name in MODELS else "teacher", history)
        if svgs:
            last = ", ".join(
                f"{key} {value:.4g}" for key, value in history[-1].items() if isinstance(value, int | float)
            )
            title = MODELS.get(name, name)
            drawn.append(Picture(title[:1].upper() + title[1:], svgs, f"Training of the {title}. At its end: {last}."))
    return drawn


def _counts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the data stage's counts, those within others after them."""
    rows = []
    for name, value in data.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            rows.append((name.replace("_", " "), f"{value:,}"))
        elif isinstance(value, Mapping):
            inner = [(k, v) for k, v in value.items() if isinstance(v, int | float)]
            rows += [(f"{name.replace('_', ' ')}: {key}", f"{count:,}") for key, count in inner]
    return rows


def _stages(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    longest = max(seconds.values(), default=0) or 1
    return [{"name": name, "share": value / longest, "text": long_duration(value)} for name, value in seconds.items()]
