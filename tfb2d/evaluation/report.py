"""The report of a run: `report.json` for programs and a self-contained `report.html` for people."""

from pathlib import Path
from typing import Any

from tfb2d.atomic import write_atomic, write_json
from tfb2d.evaluation.page import render
from tfb2d.evaluation.results import RunResults, summarise


def write_report(run: RunResults, out: str | Path) -> dict[str, Any]:
    """Writes `<out>/report.json` and `<out>/report.html`, each whole or not at all.

    Returns:
      What `report.json` holds; see `results.summarise`.

    Raises:
      OSError: the folder cannot be written.
    """
    report = summarise(run)
    write_atomic(Path(out) / "report.html", render(run, report))
    write_json(Path(out) / "report.json", report)
    return report
