"""The report of a run as a page: figures, pictures and examples."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation import pictures
from tfb2d.evaluation.metrics import Floats, check_labels, check_scores, decisions, distances, hits, kind_of
from tfb2d.evaluation.pictures import Series
from tfb2d.evaluation.results import RunResults, covered
from tfb2d.evaluation.table import (
    LESS_IS_BETTER,
    METRICS,
    MODELS,
    baseline_rows,
    duration,
    figure,
    long_duration,
    model_rows,
    ndcg_note,
    percent,
    span,
    speed_up,
)
from tfb2d.report.page import Picture, excerpt, table_row
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
        pictures=_pictures(run, report),
        trainings=_trainings(run),
        examples=examples(run),
        counts=_counts(report["data"]),
        stages=_stages(report["seconds"]),
        config=json.dumps(report["config"], indent=2, ensure_ascii=False),
    )


def headline(report: Mapping[str, Any]) -> str:
    """Returns the run's main result as a sentence."""
    kept, faster, measure = report["headline_retention"], speed_up(report), report["headline_measure"]
    if kept is None and measure == "accuracy":
        return f"The student decides {percent(report['student']['accuracy'])} of the test split correctly."
    if kept is None:
        return f"The student's {METRICS[measure]} on the test split is {figure(report['student'][measure])}."
    speed = f" and answers {faster:,.0f} times as fast" if faster is not None and faster >= 2 else ""
    return f"The student keeps {percent(kept)} of the teacher's {METRICS[measure]}{speed}."


def cards(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the figures that matter most: title, value and a line of explanation each."""
    intervals, shown, measure = report["intervals"], [], METRICS[report["headline_measure"]]

    def card(title: str, value: str, note: str) -> None:
        shown.append({"title": title, "value": value, "note": note})

    def between(name: str, show: Callable[[float], str]) -> str:
        low_high = intervals.get(name)
        return "" if low_high is None else f" (95%: {show(low_high[0])} to {show(low_high[1])})"

    def points(value: float) -> str:
        return f"{100 * value:+.1f}"

    for warning in report.get("warnings", ()):
        card("Doubtful", "!", warning)
    if report["headline_retention"] is not None:
        note = f"student's {measure} over teacher's" + between("headline_retention", percent)
        card("Retention", percent(report["headline_retention"]), note)
    if report["ndcg10_retention"] is not None:
        note = "student's NDCG@10 over teacher's" + between("ndcg10_retention", percent)
        card("Ranking", percent(report["ndcg10_retention"]), note)
    if report["fidelity"] is not None:
        note = "of rows decided as the teacher does" + between("fidelity", percent)
        card("Fidelity", percent(report["fidelity"]), note)
    if report["headline_gain"] is not None:
        note = f"points of {measure} over the same student trained on labels alone"
        card("Gain", points(report["headline_gain"]), note + between("headline_gain", points))
    student, teacher = (report["latency"].get(name, {}).get("single_ms", {}) for name in ("student", "teacher"))
    if student:
        than = f"; the teacher takes {duration(teacher['p50'])}" if teacher else ""
        card("Latency", duration(student["p50"]), f"median for one row, strings in{than}")
    if "student" in report["size_mb"]:
        than = f"; the teacher has {report['size_mb']['teacher']:,.0f} MB" if "teacher" in report["size_mb"] else ""
        card("Size", f"{report['size_mb']['student']:,.1f} MB", f"on disk{than}")
    return shown


def table(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary: column titles, and a row of (figure, small print) for each model."""
    first = report["headline_measure"]
    others = [name for name in METRICS if name in report["student"] and name not in (first, "ndcg10_all")]
    names = [first, *others]  # the mean NDCG of all groups stands below the table
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


def ranking_note(report: Mapping[str, Any]) -> str:
    """Says which groups NDCG@10 counts, of a report of rankings; otherwise nothing."""
    counts = report["ndcg_groups"]
    return (
        ndcg_note(counts, {title: figures["ndcg10_all"] for _, title, figures in model_rows(report)}) if counts else ""
    )


def examples(run: RunResults) -> dict[str, Any]:
    """Picks the test rows on which student and teacher agree least, and most; without a teacher, student and label.

    See `metrics.distances`.
    """
    kind = kind_of(run.task)
    student = check_scores(kind, run.student)
    labels = check_labels(kind, run.labels, student)
    teacher = None if run.teacher is None or not covered(run.teacher).any() else np.asarray(run.teacher, np.float64)
    other = np.eye(student.shape[1])[labels.astype(np.int64)] if kind == "multiclass" else labels
    gaps = distances(student, other if teacher is None else teacher)
    known = np.flatnonzero(np.isfinite(gaps))
    order = known[np.argsort(gaps[known], kind="stable")]

    def shown(rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "texts": [(name, excerpt(column[row])) for name, column in zip(_fields(run), run.columns, strict=True)],
                "label": _label(run.task, labels[row]),
                "scores": [
                    {"key": key, **_score(run.task, scores[row])}
                    for key, scores in (("teacher", teacher), ("student", student))
                    if scores is not None
                ],
            }
            for row in map(int, rows)
        ]

    return {
        "against": "label" if teacher is None else "teacher",
        "least": shown(order[::-1][: run.examples]),
        "most": shown(order[: run.examples]),
    }


def _fields(run: RunResults) -> Sequence[str]:
    return getattr(run.task, "fields", None) or [f"text {index + 1}" for index in range(len(run.columns))]


def _classes(task: Any) -> Sequence[str]:
    return getattr(task, "classes", ())


def _label(task: Any, label: float) -> str:
    """Returns the label as the user's files have it."""
    if _classes(task):
        return str(_classes(task)[int(label)])
    low, high = getattr(task, "label_range", ()) or (0, 1)
    return f"{low + label * (high - low):g}"


def _score(task: Any, score: Any) -> dict[str, Any]:
    """Returns a row's score: the share of a bar that is filled, and the text beside it."""
    if np.ndim(score) == 0:
        return {"share": float(score), "text": f"{score:.3f}"}
    best = int(np.argmax(score))
    name = _classes(task)[best] if _classes(task) else best
    return {"share": float(score[best]), "text": f"{name} {score[best]:.3f}"}


def _pictures(run: RunResults, report: Mapping[str, Any]) -> list[Picture]:
    kind = kind_of(run.task)
    student = check_scores(kind, run.student)
    labels = check_labels(kind, run.labels, student)
    models = {"teacher": run.teacher, "student": run.student, "labels_only": run.labels_only}
    series = [_series(key, labels, scores) for key, scores in models.items() if report[key] is not None]
    legend = [(model.key, model.title) for model in series]

    def spoken(metric: str) -> str:
        return "; ".join(f"{model.title} {figure(report[model.key][metric])}" for model in series)

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
    if report["teacher"] is not None:
        rows = covered(np.asarray(run.teacher))
        teacher, met = np.asarray(run.teacher, np.float64)[rows], student[rows]
        svg = pictures.scatter(teacher, met, hits(kind, labels[rows], met))
        marks = "Darker: more rows." if len(met) > pictures.CROWD else "Crosses: the student decides wrongly."
        alt = f"The student's scores against the teacher's. They decide alike on {percent(report['fidelity'])}."
        drawn.append(Picture("Student against teacher", [svg], alt, f"{_quadrants(teacher, met)} {marks}"))
    return drawn


def _series(key: str, labels: Floats, scores: ArrayLike | None) -> Series:
    rows = covered(np.asarray(scores))
    return Series(key, MODELS[key], labels[rows], np.asarray(scores, np.float64)[rows])


def _quadrants(teacher: Floats, student: Floats) -> str:
    if teacher.ndim == 2:
        return "The probability that each gives to the class that the teacher decides for."
    yes, also = decisions(teacher) == 1, decisions(student) == 1
    alone = f"the teacher alone says yes on {percent((yes & ~also).mean())}, the student alone on"
    both = f"Both say yes on {percent((yes & also).mean())} of the rows, both no on {percent((~yes & ~also).mean())}"
    return f"{both}; {alone} {percent((~yes & also).mean())}."


def _trainings(run: RunResults) -> list[Picture]:
    drawn = []
    for index, (name, history) in enumerate(run.histories.items()):
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
