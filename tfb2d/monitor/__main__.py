"""Monitors a student in service: compares its request logs with its teacher and with its training rows.

  tfb2d monitor --logs=/var/log/shop --model=saved_models/shop --teacher=runs/shop/teachers/bert --output=watch
  tfb2d monitor --logs=/var/log/student --model=/models/shop --teacher_logits=labelled/ --output=watch \
      --reference=transfer.safetensors --test=labelled_test.tsv --fail_on_alert

Reads PredictionLog records as `tfb2d.serving.RequestLog` and the embedded server's `--log_requests` write them
(plain, gzip or zlib), streamed. Writes into --output:

* monitor.html and monitor.json;
* fresh/, a sample of the rows with the teacher's logits, without repeats and test text, for `data.unlabelled` and
  `logits=` of a teacher;
* next.py, the run's recipe with those rows;
* broken.jsonl, the records that could not be read;
* reference.safetensors, a cache of what the next call needs of the training rows.

Prints the command that distils again. Exit status: 0; 3 with --fail_on_alert where there is an alert; 1 after an error.
`tfb2d shadow` sends logged requests to two servers and compares their answers.
"""

from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any

from tfb2d.cli.arguments import Parser, quoting_flag
from tfb2d.errors import UserError

ALERTED = 3


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    what = "Files, globs or folders of request logs, separated by commas."
    files.words("logs", what, required=True, metavar="FILE,...")
    files.flag("model", "The exported model that answered: its folder or a version's.", required=True, metavar="DIR")
    files.flag("output", "The folder to write. As private as the logs: it holds texts.", required=True, metavar="DIR")
    files.flag("teacher", "A saved teacher's folder, which labels the sample.", "", metavar="DIR")
    files.words("teacher_logits", "The teacher's logits of OUTPUT/sample, made by tfb2d label.", metavar="FILE,...")
    files.flag("run", "The run folder of model and teacher. [default: the one above --teacher]", "", metavar="DIR")
    what = "Transfer rows, or a reference.safetensors of an earlier call. [default: the run's data/transfer]"
    files.words("reference", what, metavar="FILE,...")
    what = "Rows that must not be trained on. [default: the run's data/test and data/valid]"
    files.words("test", what, metavar="FILE,...")
    quoting_flag(files)
    work = parser.group("what is monitored")
    work.flag("name", "Only requests that the model of this name answered.", "")
    work.integer("version", "Only requests that this version answered; 0 takes all.", 0, 0)
    work.integer("sample", "Rows to relabel.", 2000, 1)
    work.integer("seed", "Of the sample.", 0, 0)
    work.flag("window", "Length of a window: 15m, 6h, 1d, 1w. [default: 24 windows or fewer]", "", metavar="TIME")
    work.words("orders", "N-gram orders. [default: the run's, or 1,2]", metavar="N,...")
    work.switch("show_text", "Show texts and new tokens on the page and in monitor.json.")
    work.switch("progress", "Show progress bars.", True)
    alerts = parser.group("alerts")
    alerts.switch("fail_on_alert", "Exit with status 3 where there is an alert.")
    alerts.real("alert_psi", "Score drift (PSI) of a window; 0 never.", 0.25, 0.0)
    alerts.real("alert_fidelity", "Agreement with the teacher whose interval is below; 0 never.", 0.0, 0.0, 1.0)
    alerts.real("alert_new_tokens", "Share of new tokens in a window; 0 never.", 0.0, 0.0, 1.0)
    alerts.real("alert_broken", "Share of records that cannot be read; 0 never.", 0.01, 0.0, 1.0)
    alerts.real("alert_skew", "A logged score this far from the model's own; 0 never.", 1e-3, 0.0, 1.0)
    alerts.integer("alert_rows", "Windows with fewer rows raise no alert.", 200, 1)


def run(options: Namespace) -> int:
    """Runs the command; returns its exit status."""
    if options.teacher and options.teacher_logits:
        raise UserError("--teacher labels the sample, --teacher_logits are its labels: give one of them")
    if not all(order.isdecimal() and 1 <= int(order) <= 5 for order in options.orders):
        raise UserError(f"--orders={','.join(options.orders)}: numbers from 1 to 5")
    from tfb2d.evaluation.table import named_line
    from tfb2d.monitor.alerts import Thresholds
    from tfb2d.monitor.page import summary
    from tfb2d.monitor.run import Monitor
    from tfb2d.monitor.settings import Settings

    given: dict[str, Any] = {each.name: getattr(options, each.name, None) for each in fields(Settings)}
    given |= {name: Path(given[name]) if given[name] else None for name in ("output", "teacher", "run")}
    given["orders"] = tuple(map(int, options.orders))
    limits = {each.name: getattr(options, f"alert_{each.name}") for each in fields(Thresholds)}
    settings = Settings(**given | {"thresholds": Thresholds(**limits)})
    result = Monitor(settings).run()
    print(summary(result))
    print(named_line("page", str(settings.output / "monitor.html")))
    if result["next"]:
        print(named_line("next", result["next"]))
    return ALERTED if options.fail_on_alert and result["alerts"] else 0


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("monitor")
