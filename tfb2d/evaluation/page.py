"""The report as one HTML page that needs nothing else: no script, no request, light and dark, wide and narrow."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfb2d.evaluation import pictures
from tfb2d.evaluation.metrics import Floats, check_labels, check_scores, decisions, hits, kind_of
from tfb2d.evaluation.pictures import Series
from tfb2d.evaluation.results import RunResults, covered
from tfb2d.evaluation.table import METRICS, MODELS, duration, figure, model_rows, percent, span, speed_up

TEMPLATE = Path(__file__).with_name("report.html")
EXCERPT = 400  # characters of a text that an example shows


@dataclass(frozen=True)
class Picture:
    """One SVG or more, with what stands around them."""

    title: str
    svgs: Sequence[str]
    alt: str  # what it shows, for those who cannot see it
    caption: str = ""
    legend: Sequence[tuple[str, str]] = ()  # (model's key, its name)


def render(run: RunResults, report: Mapping[str, Any]) -> str:
    """The page, from a run and its `results.summarise`; whatever comes from data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        report=report,
        headline=headline(report),
        cards=cards(report),
        table=table(report),
        pictures=_pictures(run, report),
        trainings=_trainings(run),
        examples=examples(run),
        counts=_counts(report["data"]),
        stages=_stages(report["seconds"]),
        config=json.dumps(report["config"], indent=2, ensure_ascii=False),
    )
    return page.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8


def style() -> str:
    """The style sheet of the report's page, for other pages that should look like it."""
    text = TEMPLATE.read_text(encoding="utf-8")
    return text[text.index("<style>") + len("<style>") : text.index("</style>")]


def headline(report: Mapping[str, Any]) -> str:
    """What the run came to, in a sentence."""
    kept, faster = report["retention"], speed_up(report)
    if kept is None:
        return f"The student decides {percent(report['student']['accuracy'])} of the test split correctly."
    speed = f" and answers {faster:,.0f} times as fast" if faster is not None and faster >= 2 else ""
    return f"The student keeps {percent(kept)} of the teacher's accuracy{speed}."


def cards(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures that matter most: title, value and a line of explanation each."""
    intervals, found = report["intervals"], []

    def card(title: str, value: str, note: str) -> None:
        found.append({"title": title, "value": value, "note": note})

    def between(name: str, show: Callable[[float], str]) -> str:
        low_high = intervals.get(name)
        return "" if low_high is None else f" (95%: {show(low_high[0])} to {show(low_high[1])})"

    def points(value: float) -> str:
        return f"{100 * value:+.1f}"

    for warning in report.get("warnings", ()):
        card("Doubtful", "!", warning)
    if report["retention"] is not None:
        card(
            "Retention",
            percent(report["retention"]),
            "student's accuracy over teacher's" + between("retention", percent),
        )
    if report["ndcg10_retention"] is not None:
        card(
            "Ranking",
            percent(report["ndcg10_retention"]),
            "student's NDCG@10 over teacher's" + between("ndcg10_retention", percent),
        )
    if report["fidelity"] is not None:
        card(
            "Fidelity",
            percent(report["fidelity"]),
            "of rows decided as the teacher does" + between("fidelity", percent),
        )
    if report["gain_over_labels_only"] is not None:
        note = "points of accuracy over the same student trained on labels alone"
        card("Gain", points(report["gain_over_labels_only"]), note + between("gain_over_labels_only", points))
    student, teacher = (report["latency"].get(name, {}).get("single_ms", {}) for name in ("student", "teacher"))
    if student:
        than = f"; the teacher takes {duration(teacher['p50'])}" if teacher else ""
        card("Latency", duration(student["p50"]), f"median for one row, strings in{than}")
    if "student" in report["size_mb"]:
        than = f"; the teacher has {report['size_mb']['teacher']:,.0f} MB" if "teacher" in report["size_mb"] else ""
        card("Size", f"{report['size_mb']['student']:,.1f} MB", f"on disk{than}")
    return found


def table(report: Mapping[str, Any]) -> dict[str, Any]:
    """The summary: column titles, and for each model its colour, name and cells of (figure, small print)."""
    names = [name for name in METRICS if name in report["student"]]
    titles = [METRICS[name] + (" ↓" if name in ("ece", "log_loss") else "") for name in names]
    rows = []
    for key, title, found in model_rows(report):
        intervals = report["intervals"].get(key, {})
        cells = [(figure(found.get(name)), span(intervals.get(name))) for name in names]
        latency = report["latency"].get(key, {})
        single, speed, size = latency.get("single_ms", {}), latency.get("rows_per_second"), report["size_mb"].get(key)
        cells.append((duration(single.get("p50")), f"p99 {duration(single['p99'])}" if single else ""))
        cells.append(("–" if speed is None else f"{speed:,.0f}", ""))
        cells.append(("–" if size is None else f"{size:,.1f} MB", ""))
        rows.append({"key": key if key in MODELS else "teacher", "title": title, "cells": cells})
    return {"titles": [*titles, "one row", "rows/s", "size"], "rows": rows}


def examples(run: RunResults) -> dict[str, Any]:
    """The test rows on which student and teacher (without one: student and label) agree least, and most.

    The distance is that of the scores: of the distributions, in multi-class tasks (total variation).
    """
    kind = kind_of(run.task)
    student = check_scores(kind, run.student)
    labels = check_labels(kind, run.labels, student)
    teacher = None if run.teacher is None or not covered(run.teacher).any() else np.asarray(run.teacher, np.float64)
    other = np.eye(student.shape[1])[labels.astype(np.int64)] if kind == "multiclass" else labels
    gaps = np.abs(student - (other if teacher is None else teacher))
    gaps = gaps if gaps.ndim == 1 else gaps.sum(axis=1) / 2
    known = np.flatnonzero(np.isfinite(gaps))
    order = known[np.argsort(gaps[known], kind="stable")]

    def shown(rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "texts": [
                    (name, _excerpt(column[row])) for name, column in zip(_fields(run), run.columns, strict=True)
                ],
                "label": _label(run.task, labels[row]),
                "scores": [
                    {"key": key, "title": key, **_score(run.task, scores[row])}
                    for key, scores in (("teacher", teacher), ("student", student))
                    if scores is not None
                ],
            }
            for row in map(int, rows)
        ]

    apart = order[::-1][: run.examples]
    return {
        "against": "label" if teacher is None else "teacher",
        "least": shown(apart),
        "most": shown(order[: run.examples]),
    }


def _fields(run: RunResults) -> Sequence[str]:
    return getattr(run.task, "fields", None) or [f"text {place + 1}" for place in range(len(run.columns))]


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + " …"


def _classes(task: Any) -> Sequence[str]:
    return getattr(task, "classes", ())


def _label(task: Any, label: float) -> str:
    """The label as the user's files have it."""
    if _classes(task):
        return str(_classes(task)[int(label)])
    low, high = getattr(task, "label_range", ()) or (0, 1)
    return f"{low + label * (high - low):g}"


def _score(task: Any, score: Any) -> dict[str, Any]:
    """A row's score: the share of a bar that is filled, and the text beside it."""
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
    legend = [(one.key, one.title) for one in series]

    def spoken(metric: str) -> str:
        return "; ".join(f"{one.title} {figure(report[one.key][metric])}" for one in series)

    many = "; the mean over the classes, each against the rest" if kind == "multiclass" else ""
    found = [
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
        found.append(Picture("Student against teacher", [svg], alt, f"{_quadrants(teacher, met)} {marks}"))
    return found


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
    found = []
    for number, (name, history) in enumerate(run.histories.items()):
        svgs = pictures.training(number, name if name in MODELS else "teacher", history)
        if svgs:
            last = ", ".join(
                f"{key} {value:.4g}" for key, value in history[-1].items() if isinstance(value, int | float)
            )
            title = MODELS.get(name, name)
            found.append(Picture(title[:1].upper() + title[1:], svgs, f"Training of the {title}. At its end: {last}."))
    return found


def _counts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The data stage's counts, those within others behind them."""
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
    return [{"name": name, "share": value / longest, "text": _time(value)} for name, value in seconds.items()]


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
