"""The results of a bench as a table, as ratios against the targets, and as a picture."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfb2d.atomic import write_atomic, write_json
from tfb2d.bench.bert import CHUNK
from tfb2d.evaluation.table import duration, figure, layout
from tfb2d.report.pictures import svg_document

Results = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """Holds the least ratio that a student should reach over a peer; of any number of threads where that is 0."""

    peer: str
    batch: int | str
    key: str
    least: float
    threads: int = 0


TARGETS = (
    Target("bert-base-onnx-int8", "rank", "rows_per_s", 1000),
    Target("tinybert-onnx-int8", "rank", "rows_per_s", 100),
    Target("bert-base-keras", 1, "p50_us", 150),
    Target("bert-base-onnx-int8", 1, "p50_us", 50),
    Target("fasttext", 1024, "rows_per_s", 1, 1),
    Target("fasttext-raw", 1024, "rows_per_s", 1, 1),
    Target("model2vec", 1024, "rows_per_s", 5, 1),
)


def write(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], text: str) -> None:
    """Writes `<name>.json` and `<name>.txt` into a folder, and prints the text."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{name}.json", rows)
    write_atomic(folder / f"{name}.txt", text + "\n")
    print(f"{text}\n\nresults in {folder}")


def ratios(results: Results, students: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the ratios of all targets whose student and peer are in the results.

    Returns:
      `{"task", "threads", "student", "peer", "batch", "measure", "ratio", "cpu_ratio", "target", "met"}` each;
      `cpu_ratio` is that of CPU seconds a row, which other processes disturb least.
    """
    cells = {(entry["task"], entry["threads"], entry["batch"], entry["system"]): entry for entry in results}
    settings = dict.fromkeys((entry["task"], entry["threads"]) for entry in results)
    reached = []
    for target, (task, threads), student in itertools.product(TARGETS, settings, students):
        ours = cells.get((task, threads, target.batch, student))
        theirs = cells.get((task, threads, target.batch, target.peer))
        if target.threads not in (0, threads) or not (ours and theirs):
            continue
        latency = target.key == "p50_us"
        ratio = theirs[target.key] / ours[target.key] if latency else ours[target.key] / theirs[target.key]
        reached.append(
            {
                **{"task": task, "threads": threads, "student": student, "peer": target.peer, "batch": target.batch},
                **{"measure": "latency" if latency else "throughput", "ratio": ratio},
                "cpu_ratio": theirs["cpu_s_per_million"] / ours["cpu_s_per_million"],
                **{"target": target.least, "met": ratio >= target.least},
            }
        )
    return reached


def ratio_table(ratios: Sequence[Mapping[str, Any]]) -> str:
    """Lays out the targets as a text table."""

    def times(ratio: float) -> str:
        return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2f}"

    rows = [["student against peer", "task", "batch", "threads", "what", "ratio", "of CPU", "target", ""]]
    for entry in ratios:
        names = [str(entry[key]) for key in ("task", "batch", "threads", "measure")]
        figures = [times(entry["ratio"]), times(entry["cpu_ratio"]), f"{entry['target']:,g}"]
        rows.append([f"{entry['student']} / {entry['peer']}", *names, *figures, "met" if entry["met"] else "missed"])
    return layout(rows)


def tables(results: Results) -> str:
    """Lays out a table for every task and number of threads, with a line for each system."""
    parts = []
    for task, threads in dict.fromkeys((entry["task"], entry["threads"]) for entry in results):
        here = [entry for entry in results if (entry["task"], entry["threads"]) == (task, threads)]
        batches = list(dict.fromkeys(entry["batch"] for entry in here))
        heads = [f"{batch} p50" if batch == 1 else f"{batch}, rows/s" for batch in batches]
        p99 = ["1 p99"] if 1 in batches else []
        head = [f"{task}, {threads} thread{'s' * (threads > 1)}", "accuracy", *heads, *p99]
        rows = [[*head, "CPU s/M", "Wh/M", "$/M", "peak MB", "file MB"]]
        for system in dict.fromkeys(entry["system"] for entry in here):
            cells = {entry["batch"]: entry for entry in here if entry["system"] == system}
            best = min(cells.values(), key=lambda entry: entry["cpu_s_per_million"] or float("inf"))
            line = [system, figure(best["accuracy"])]
            for batch in batches:
                cell: Mapping[str, Any] = cells.get(batch, {})
                speed = cell.get("rows_per_s")
                line.append(_time(cell.get("p50_us")) if batch == 1 else "–" if speed is None else f"{speed:,.0f}")
            line += [_time(cells.get(1, {}).get("p99_us"))] if p99 else []
            line += [_short(best[f"{name}_per_million"]) for name in ("cpu_s", "wh", "cost")]
            peak = max((entry["peak_mb"] or 0.0 for entry in cells.values()), default=0.0)
            rows.append([*line, f"{peak:,.0f}", _short(best["file_mb"])])
        parts.append(layout(rows))
    return "\n\n".join(parts)


def batch_lines(results: Results) -> str:
    """Returns a line for each task with the largest change of each system's scores; "" without such figures."""
    shifts: dict[str, dict[str, float]] = {}
    for entry in results:
        if entry.get("batch_shift") is not None:
            shifts.setdefault(entry["task"], {})[entry["system"]] = entry["batch_shift"]
    if not shifts:
        return ""
    lines = [f"Largest change of a row's score, {CHUNK} rows together against each alone:"]
    for task, systems in shifts.items():
        lines.append(f"  {task}: " + ", ".join(f"{system} {shift:.1g}" for system, shift in systems.items()))
    lines.append("ONNX Runtime's dynamic quantisation takes one scale a tensor, so a row's score depends on its batch.")
    return "\n".join(lines)


def _time(microseconds: float | None) -> str:
    return duration(None if microseconds is None else microseconds / 1000)


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def picture(results: Results, students: Iterable[str]) -> str:
    """Draws accuracy against the latency of one row, on a logarithmic scale, as an SVG document with a panel a task.

    Systems with random weights have no accuracy and are a line at their latency. Tasks without labels are left out, unless
    all tasks are.
    """
    threads = min(entry["threads"] for entry in results)
    single = [entry for entry in results if entry["batch"] == 1 and entry["threads"] == threads and entry["p50_us"]]
    labelled = dict.fromkeys(entry["task"] for entry in single if entry["accuracy"] is not None)
    tasks = list(labelled or dict.fromkeys(entry["task"] for entry in single))

    def draw(figure: Any) -> None:
        for number, task in enumerate(tasks):
            axes = figure.add_subplot(len(tasks), 1, number + 1)
            label = f"one row, p50, milliseconds ({threads} core{'s' * (threads > 1)})"
            axes.set(xscale="log", xlabel=label, ylabel="accuracy", title=task)
            _panel(axes, [entry for entry in single if entry["task"] == task], set(students))

    return svg_document(7.5, 3.6 * len(tasks), draw)


def _panel(axes: Any, entries: Results, ours: set[str]) -> None:
    """Draws a task's systems as points, or as lines where they have no accuracy; x is milliseconds."""
    above = True
    for entry in sorted(entries, key=lambda entry: entry["p50_us"]):
        x, y, name = entry["p50_us"] / 1000, entry["accuracy"], entry["system"]
        if y is None:
            axes.axvline(x, color="#94a3b8", linewidth=1, linestyle=(0, (3, 3)))
            style = {"rotation": 90, "ha": "right", "va": "bottom", "fontsize": 7, "color": "#64748b"}
            axes.annotate(name, (x, 0.02), xycoords=("data", "axes fraction"), **style)
        else:
            colour = "#c2410c" if name in ours else "#475569"
            axes.scatter([x], [y], color=colour, s=34, zorder=3)
            offset = (5, 4 if above else -11)  # alternates, so that neighbours' names do not overlap
            axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", fontsize=8, color=colour)
            above = not above
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(True, color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.12, y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
