"""The monitor's results as a page, and as a few lines for a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfb2d.data.task import Task
from tfb2d.errors import counted
from tfb2d.evaluation import pictures as run_pictures
from tfb2d.evaluation.examples import score_bar
from tfb2d.evaluation.scores import decisions
from tfb2d.evaluation.table import figure, named_line, percent, span, within
from tfb2d.monitor import pictures
from tfb2d.report.page import Picture, card, excerpt, table_row
from tfb2d.report.page import render as render_page

TEMPLATE = Path(__file__).with_name("monitor.html")


def render(result: Mapping[str, Any]) -> str:
    """Returns the HTML page of the figures of `Monitor.run`; texts from the log are escaped."""
    task = Task.from_json(result["task"])
    return render_page(
        TEMPLATE,
        result=result,
        headline=headline(result),
        span=when(result),
        cards=_cards(result),
        pictures=_pictures(result),
        table=_table(result),
        counts=_counts(result),
        tokens=[(token["token"], f"{token['count']:,}") for token in result.get("new_tokens") or []],
        examples=[_example(task, example) for example in result.get("examples", [])],
    )


def headline(result: Mapping[str, Any]) -> str:
    """Returns the main result as a sentence."""
    count = len(result["alerts"])
    return f"{counted(count, 'alert') if count else 'No alert'} over {counted(result['logs']['rows'], 'row')}."


def when(result: Mapping[str, Any]) -> str:
    """Returns the first and the last window's time, UTC."""
    first, last = result["windows"][0]["time"], result["windows"][-1]["time"]
    return f"{first} to {last} UTC" if first != last else f"from {first} UTC"


def summary(result: Mapping[str, Any]) -> str:
    """Returns the lines that the command prints at its end."""
    logs, overall, lines = result["logs"], result["overall"], []

    def line(name: str, text: str) -> None:
        lines.append(named_line(name, text))

    broken, ignored, unusable = (sum(logs[name].values()) for name in ("broken", "ignored", "unusable"))
    line("log", f"{counted(logs['requests'], 'request')}, {counted(logs['rows'], 'row')}, {when(result)}")
    line(
        "left out",
        f"{counted(broken, 'broken record')}, {ignored:,} ignored, {counted(unusable, 'row')} unfit for training",
    )
    if result["fidelity"]:
        compared = result["fidelity"]["overall"]
        correlation, distance = (figure(compared[name]["value"]) for name in ("correlation", "distance"))
        alike = _percents(compared["agreement"])
        line("fidelity", f"{alike} decided as the teacher does, on {counted(compared['rows'], 'row')}")
        line("", f"logits correlate {correlation}, mean distance of probabilities {distance}")
    elif not result["sample"]["rows"]:
        line("fidelity", "no row can be relabelled")
    else:
        line("fidelity", "no teacher: --teacher=DIR, or --teacher_logits=FILES, the labelled `sample` folder")
    line("drift", f"PSI {figure(overall['psi'])} against the {result['baseline']}: {overall['band']}")
    if overall["new"]:
        orders = ", ".join(f"{percent(new['share'])} of order {order}" for order, new in overall["new"].items())
        line("new", f"n-grams that the transfer set lacks: {orders}")
    if result["skew"]["largest"] is not None:
        line("skew", f"logged scores are within {result['skew']['largest']:.1e} of the model's own")
    if fresh := result["fresh"]:
        left_out = f"{counted(fresh['duplicates'], 'repeat')}, {fresh['held_out']:,} of the test text"
        line("fresh", f"{counted(fresh['rows'], 'row')}; left out: {left_out}")
    for alert in result["alerts"]:
        line("ALERT", alert["text"])
    return "\n".join(lines)


def _percents(result: Mapping[str, Any]) -> str:
    return percent(result["value"]) + within(result["ci95"])


def _cards(result: Mapping[str, Any]) -> list[dict[str, str]]:
    overall, skew, cards = result["overall"], result["skew"], []
    if result["fidelity"]:
        compared = result["fidelity"]["overall"]
        agreement, correlation = compared["agreement"], compared["correlation"]
        same = f"of {compared['rows']:,} sampled rows decided as the teacher does"
        near = "of the student's and the teacher's logits"
        cards = [
            card("Fidelity", percent(agreement["value"]), same + within(agreement["ci95"], what="95%: ")),
            card("Correlation", figure(correlation["value"]), near + within(correlation["ci95"], figure, "95%: ")),
        ]
        # Rankings and grades are reported by measures of order, which decisions at 0.5 do not show.
        if result["task"]["kind"] == "graded" or len(result["task"]["fields"]) == 2:
            cards.reverse()
        distance = figure(compared["distance"]["value"])
        cards.append(card("Distance", distance, "mean, of the served probability and the teacher's"))
    drift = f"PSI against the {result['baseline']}: {overall['band']}"
    cards.append(card("Score drift", figure(overall["psi"], 2), drift))
    if overall["new"]:
        lacking = f"that the transfer set lacks; {percent(overall['rows_with_new'])} of the rows have a new n-gram"
        cards.append(card("New tokens", percent(overall["new"]["1"]["share"]), lacking))
    cards.append(card("Rows", f"{overall['rows']:,}", f"of {overall['requests']:,} requests"))
    if skew["largest"] is not None:
        furthest = f"largest distance of a logged score from the model's own, {skew['rows']:,} rows"
        cards.append(card("Skew", f"{skew['largest']:.0e}", furthest))
    return cards


def _pictures(result: Mapping[str, Any]) -> list[Picture]:
    windows, overall = result["windows"], result["overall"]
    drawn: list[Picture] = []

    def add(title: str, svg: str, alt: str, caption: str = "") -> None:
        drawn.append(Picture(title, [svg], alt, caption))

    if result["fidelity"]:
        agreement, distance = (result["fidelity"]["overall"][name] for name in ("agreement", "distance"))
        alt = f"Share decided as the teacher does, by window. Over all {percent(agreement['value'])}."
        caption = "Rows of the sample on which student and teacher decide alike; bars: 95% intervals, by requests."
        add("Fidelity", pictures.compared(windows, "agreement", "decided alike, %", agreement["value"]), alt, caption)
        alt = f"Mean distance of the probabilities, by window. Over all {figure(distance['value'])}."
        caption = "Of the served probability from the teacher's."
        add("Distance from the teacher", pictures.compared(windows, "distance", "mean distance, %"), alt, caption)
    alt = f"PSI by window. Over all {figure(overall['psi'])}."
    caption = f"Against the {result['baseline']}. Lines: 0.1 and 0.25. Grey: chance exceeds it in 1 window of 20."
    add("Score drift", pictures.drift(windows), alt, caption)
    alt = f"Scores by window. Median over all {figure(overall['score']['p50'])}."
    add("Scores", pictures.scores(windows), alt, "Median and the middle 80% of the served scores.")
    if overall["new"]:
        spoken = "; ".join(f"order {order}: {percent(new['share'])}" for order, new in overall["new"].items())
        alt = f"Share of n-grams that the reference lacks, by window. Over all: {spoken}."
        caption = "Share of the n-grams in requests that no row of the transfer set has."
        add("New n-grams", pictures.new_ngrams(windows, list(overall["new"])), alt, caption)
    add("Volume", pictures.volume(windows), f"Rows by window; {overall['rows']:,} in all.")
    if "scatter" in result and len(result["scatter"][0]):
        teacher, student = result["scatter"]
        svg = run_pictures.scatter(teacher, student, decisions(teacher) == decisions(student))
        marks = "Darker: more rows." if len(teacher) > run_pictures.CROWD else "Crosses: they decide differently."
        add("Student against teacher", svg, "Served scores against the teacher's.", marks)
    return drawn


def _table(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of (figure, small print) for each window."""
    new, compared = bool(result["overall"]["new"]), bool(result["fidelity"])
    titles = ["from, UTC", "rows", "PSI", *["new tokens"] * new, *["fidelity", "distance"] * compared]
    rows = []
    for window in result["windows"]:
        cells = [(window["time"], ""), (f"{window['rows']:,}", f"{window['requests']:,} requests")]
        cells.append((figure(window["psi"]), "" if window["psi"] is None else f"chance {window['chance95']:.3f}"))
        if new:
            cells.append((percent(window["new"]["1"]["share"]), ""))
        if compared:
            results = (window["fidelity"][name] for name in ("agreement", "distance"))
            cells += [(figure(result["value"]), span(result["ci95"])) for result in results]
        cells += [(f"{window['bytes'] / max(window['rows'], 1):,.0f}", ""), (f"{window['empty']:,}", "")]
        rows.append(table_row(cells))
    return {"titles": [*titles, "bytes a row", "empty"], "rows": rows}


def _counts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    logs, known = result["logs"], result["reference"]
    rows = [(name, f"{logs[name]:,}") for name in ("files", "unfinished", "records", "requests", "rows", "padding")]
    for group in ("broken", "ignored", "unusable", "models"):
        rows += [(f"{group}: {name}", f"{count:,}") for name, count in logs[group].items()]
    rows.append(("rows without a logged score", f"{logs['rows'] - result['overall']['scored']:,}"))
    rows.append(("times of", logs["time"]))
    if known:
        rows.append(("reference rows", f"{known['rows']:,}"))
        rows.append(("reference size", f"{known['megabytes']:.1f} MB"))
        rows.append(("share of new n-grams that it misses", f"{known['false_positives']:.1e}"))
    versions = result["fidelity"]["versions"] if result["fidelity"] else {}
    for version, figures in versions.items() if len(versions) > 1 else ():
        rows.append((f"decided as the teacher, version {version}", _percents(figures["agreement"])))
    for name, count in (result["fresh"] or {}).items():
        rows.append((f"fresh: {name.replace('_', ' ')}", f"{count:,}"))
    return rows


def _example(task: Task, example: Mapping[str, Any]) -> dict[str, Any]:
    scores = [{"key": name, **score_bar(task, example[name])} for name in ("teacher", "student")]
    return {"texts": [(name, excerpt(text)) for name, text in example["texts"].items()], "scores": scores}
