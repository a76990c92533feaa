"""The report of a run as a page: headline, cards, tables and pictures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfb2d.evaluation import pictures
from tfb2d.evaluation.contrasts import contrast_note, contrast_table
from tfb2d.evaluation.examples import examples
from tfb2d.evaluation.metrics import LESS_IS_BETTER
from tfb2d.evaluation.models import MODELS, covered
from tfb2d.evaluation.pictures import Series
from tfb2d.evaluation.results import RunResults, histories
from tfb2d.evaluation.scores import Floats, check_labels, check_scores, decisions, hits, kind_of
from tfb2d.evaluation.table import (
    METRICS,
    baseline_rows,
    distilled_models,
    duration,
    figure,
    long_duration,
    model_rows,
    ndcg_note,
    over_bm25,
    percent,
    span,
    speed_up,
)
from tfb2d.report.page import Picture, table_row
from tfb2d.report.page import render as render_page

TEMPLATE = Path(__file__).with_name("report.html")


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
    """Returns the figures that matter most: title, value and a line of explanation each."""
    shown = [{"title": "Doubtful", "value": "!", "note": warning} for warning in report.get("warnings", ())]
    several = len(distilled_models(report)) > 1
    for key in distilled_models(report):
        of_model = _cards(report, key)
        shown += [card | {"title": f"{card['title']}, {MODELS[key]}"} for card in of_model] if several else of_model
    return shown


def _cards(report: Mapping[str, Any], key: str) -> list[dict[str, str]]:
    """Returns the cards of one distilled model."""
    compared, shown, measure = report["compared"][key], [], METRICS[report["headline_measure"]]

    def card(title: str, value: str, note: str) -> None:
        shown.append({"title": title, "value": value, "note": note})

    def compared_card(title: str, name: str, note: str, show: Callable[[float], str] = percent) -> None:
        result = compared.get(name)
        if result and result["value"] is not None:
            ends = result["ci95"]
            within = "" if ends is None else f" (95%: {show(ends[0])} to {show(ends[1])})"
            card(title, show(result["value"]), note + within)

    def points(value: float) -> str:
        return f"{100 * value:+.1f}"

    compared_card("Retention", "headline_retention", f"{MODELS[key]}'s {measure} over teacher's")
    compared_card("Ranking", "ndcg10_retention", f"{MODELS[key]}'s NDCG@10 over teacher's")
    for name, share in over_bm25(report, key)[:1]:
        card("Over BM25", percent(share["value"]), f"of what the teacher gains over BM25, by {name}")
    compared_card("Fidelity", "fidelity", "of rows decided as the teacher does")
    note = f"points of {measure} over the same student trained on labels alone"
    compared_card("Gain", "headline_gain", note, points)
    own, teacher = (report["latency"].get(name, {}).get("single_ms", {}) for name in (key, "teacher"))
    if own:
        than = f"; the teacher takes {duration(teacher['p50'])}" if teacher else ""
        embedding = report["latency"].get(f"{key}_embed_query", {}).get("single_ms")
        than += f"; a query alone {duration(embedding['p50'])}" if embedding else ""
        card("Latency", duration(own["p50"]), f"median for one row, strings in{than}")
    if key in report["size_mb"]:
        than = f"; the teacher has {report['size_mb']['teacher']:,.0f} MB" if "teacher" in report["size_mb"] else ""
        card("Size", f"{report['size_mb'][key]:,.1f} MB", f"on disk{than}")
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
        latency = report["latency"].get(key, {})
        single, speed, size = latency.get("single_ms", {}), latency.get("rows_per_second"), report["size_mb"].get(key)
        cells.append((duration(single.get("p50")), f"p99 {duration(single['p99'])}" if single else ""))
        cells.append(("–" if speed is None else f"{speed:,.0f}", ""))
        cells.append(("–" if size is None else f"{size:,.1f} MB", ""))
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
    """Returns the data stage's counts, those within others behind them."""
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
