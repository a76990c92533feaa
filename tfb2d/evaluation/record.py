"""Writes down finished runs as one result: `tfb2d record --output=results/NAME.json RUN [RUN ...]`.

The runs repeat one experiment, each with its own seed. Every metric has its mean, its values by seed and a 95% interval.
The interval is the mean of the runs' bootstrap limits, so it shows the effect of the test rows. The values by seed show the
effect of seeds. Figures are fractions, not percent.

Beside it, `results/NAME_logits.parquet` gets the logits of the test split, by seed (`tfb2d/evaluation/test_logits.py`).
`tfb2d recount` computes the metrics from them, so a reader needs no training to check a result.
"""

import datetime
import subprocess
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.atomic import read_json, write_json
from tfb2d.cli.arguments import Parser
from tfb2d.errors import DataError, UserError
from tfb2d.evaluation.latency import machine
from tfb2d.evaluation.models import MODELS
from tfb2d.evaluation.results import COMPARED, HEADLINE, OVER_BM25, seed_of
from tfb2d.runs import Run


def record(runs: Sequence[Path], experiment: str = "") -> dict[str, Any]:
    """Summarises the reports of finished runs.

    Returns `{"experiment", "command", "commit", "machine", "date", "seeds", "metrics": {name: {"mean", "ci95",
    "per_seed"}}}`; metrics of a model are named `student_accuracy`, `teacher_roc_auc`, `bm25_ndcg10` and so on.
    Comparisons of the leading model have their own names, those of another one begin with its:
    `twin_headline_retention`. Raises DataError for a folder without a report, or runs that differ in more than the
    seed.
    """
    reports: list[dict[str, Any]] = []
    for run in runs:
        report_file = Run(run).report_file
        if not report_file.exists():
            raise DataError(f"{run}: no {report_file.name}; the run is not finished")
        reports.append(report := read_json(report_file))
        if missing := set(COMPARED) - set(report):
            raise DataError(f"{run}: its report lacks {min(missing)}; tfb2d train --force=report makes it anew")
        if _seedless(report["config"]) != _seedless(reports[0]["config"]):
            raise DataError(f"{run}: its settings differ from those of {runs[0]} in more than seeds")
    return {
        "experiment": experiment or reports[0]["name"],
        "command": reports[0]["command"],
        "headline_measure": reports[0].get("headline_measure"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "seeds": [seed_of(report["config"], report.get("leading", "")) for report in reports],
        "metrics": record_figures(reports),
        "versions": reports[0]["versions"],
    }


def record_figures(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the "metrics" of `record`: each figure that all reports have, as its mean, interval and values by seed."""
    values = [_metrics(report) for report in reports]
    figures = {}
    for name in [name for name in values[0] if all(name in of_run for of_run in values)]:
        per_seed, intervals = zip(*(of_run[name] for of_run in values), strict=True)
        limits = [ci95 for ci95 in intervals if ci95 is not None]
        figures[name] = {
            "mean": float(np.mean(per_seed)),
            "ci95": np.mean(limits, 0).tolist() if limits else None,
            "per_seed": list(per_seed),
        }
    return figures


def _metrics(report: Mapping[str, Any]) -> dict[str, tuple[float, list[float] | None]]:
    figures: dict[str, tuple[float, list[float] | None]] = {}
    intervals = report["intervals"]
    models = {key: report.get(key) for key in MODELS} | {"bm25": report.get("baselines", {}).get("bm25")}
    for model, of_model in models.items():
        for name, value in (of_model or {}).items():
            if value is not None:
                figures[f"{model}_{name}"] = value, intervals[model].get(name)
    for name in (*COMPARED, *HEADLINE, *OVER_BM25):
        if report.get(name) is not None:
            figures[name] = report[name], intervals.get(name)
    for model, compared in report.get("compared", {}).items():
        if model != report["leading"]:
            shown = {name: figure for name, figure in compared.items() if figure["value"] is not None}
            figures |= {f"{model}_{name}": (figure["value"], figure["ci95"]) for name, figure in shown.items()}
    for name, count in (report.get("ndcg_groups") or {}).items():
        figures[f"ndcg_groups_{name}"] = float(count), None
    for model, latency in report["latency"].items():
        figures[f"{model}_single_ms"] = latency["single_ms"]["p50"], None
        figures[f"{model}_rows_per_second"] = latency["rows_per_second"], None
    for model, size in report["size_mb"].items():
        figures[f"{model}_mb"] = size, None
    figures["seconds"] = sum(report["seconds"].values()), None
    return figures


def _seedless(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        skipped = ("seed", "folder")
        return {key: _seedless(value) for key, value in settings.items() if key not in skipped}
    return settings


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to record")
    what.texts("runs", "Run folders, one a seed.")
    what.flag("output", "The JSON file to write.", required=True, metavar="FILE")
    what.flag("experiment", "The experiment's name. [default: the recipe's]", "", metavar="NAME")


def run(options: Namespace) -> None:
    """Runs the command."""
    if not options.runs:
        raise UserError("name at least one run folder")
    folders, output = [Path(folder) for folder in options.runs], Path(options.output)
    write_json(output, record(folders, options.experiment))
    print(output)
    if beside := record_logits(folders, output):
        print(beside)


def record_logits(runs: Sequence[Path], output: Path) -> Path | None:
    """Writes the test logits of runs beside a result, as `<its name>_logits.parquet`; returns the file.

    Runs of an earlier version have no test logits. Then nothing is written, a file of an earlier result is deleted, since
    it would be of other runs, and None is returned.
    """
    from tfb2d.evaluation.test_logits import join_test_logits

    beside = output.with_name(f"{output.stem}_logits.parquet")
    files = [Run(run).test_logits for run in runs]
    if not all(file.exists() for file in files):
        beside.unlink(missing_ok=True)
        return None
    join_test_logits(files, beside)
    return beside


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("record")
