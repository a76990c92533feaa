"""Watches a student in service: its request logs against its teacher and against what it learnt from.

  python -m tfb2d.monitor --logs=/var/log/shop --model=saved_models/shop --teacher=runs/shop/teachers/bert --output=watch
  python -m tfb2d.monitor --logs=/var/log/student --model=/models/shop --teacher_logits=labelled/ --output=watch \
      --reference=transfer.safetensors --test=judged_test.tsv --fail_on_alert

Reads PredictionLog records as `tfb2d.serving.RequestLog` and the embedded server's `--log_requests` write them
(plain, gzip or zlib), streamed. Writes into --output: monitor.html, monitor.json; fresh/, a sample of the rows with
the teacher's logits, without repeats and test text, which `data.unlabelled` and a `logits=` teacher take; next.py, the
run's recipe with those rows; broken.jsonl, where a record could not be read; reference.safetensors, kept for next time.
Prints the command that distils again. Exit status: 0, with --fail_on_alert 3 where there is an alert, 1 after an error.
`python -m tfb2d.monitor.shadow` sends logged requests to two servers and compares their answers.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from tfb2d.config import ConfigError

_LOGS = flags.DEFINE_list("logs", None, "Files, globs or folders of request logs, apart by commas.")
_MODEL = flags.DEFINE_string("model", None, "The exported model that answered: its folder or a version's.")
_OUTPUT = flags.DEFINE_string("output", None, "The folder to write. As private as the logs: it holds texts.")
_TEACHER = flags.DEFINE_string("teacher", "", "A saved teacher's folder, which labels the sample.")
_LOGITS = flags.DEFINE_list("teacher_logits", [], "Its logits made elsewhere: OUTPUT/sample, labelled by tfb2d.label.")
_RUN = flags.DEFINE_string("run", "", "The run folder of model and teacher. [default: the one above --teacher]")
_REFERENCE = flags.DEFINE_list(
    "reference", [], "Transfer rows, or a reference.safetensors of another look. [default: the run's data/transfer]"
)
_TEST = flags.DEFINE_list("test", [], "Rows that must not be trained on. [default: the run's data/test and data/valid]")
_NAME = flags.DEFINE_string("name", "", "Only what this model on the server answered.")
_VERSION = flags.DEFINE_integer("version", 0, "Only what this version answered.", 0)
_SAMPLE = flags.DEFINE_integer("sample", 2000, "Rows to relabel.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the sample.", 0)
_WINDOW = flags.DEFINE_string("window", "", "Length of a window: 15m, 6h, 1d, 1w. [default: 24 windows or fewer]")
_ORDERS = flags.DEFINE_list("orders", [], "N-gram orders. [default: the run's, or 1,2]")
_SHOW_TEXT = flags.DEFINE_bool("show_text", False, "Show texts and new tokens on the page and in monitor.json.")
_FAIL = flags.DEFINE_bool("fail_on_alert", False, "Exit with status 3 where there is an alert.")
_PSI = flags.DEFINE_float("alert_psi", 0.25, "Alert: score drift (PSI) of a window; 0 never.", 0.0)
_FIDELITY = flags.DEFINE_float(
    "alert_fidelity", 0.0, "Alert: agreement with the teacher surely below; 0 never.", 0.0, 1.0
)
_NEW = flags.DEFINE_float("alert_new_tokens", 0.0, "Alert: share of new tokens in a window; 0 never.", 0.0, 1.0)
_BROKEN = flags.DEFINE_float("alert_broken", 0.01, "Alert: share of records that cannot be read; 0 never.", 0.0, 1.0)
_SKEW = flags.DEFINE_float(
    "alert_skew", 1e-3, "Alert: a logged score this far from the model's own; 0 never.", 0.0, 1.0
)
_ROWS = flags.DEFINE_integer("alert_rows", 200, "Windows with fewer rows raise no alert.", 1)
_PROGRESS = flags.DEFINE_bool("progress", True, "Show progress bars.")

ALERTED = 3


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.data.errors import DataError
    from tfb2d.monitor.alerts import Thresholds
    from tfb2d.monitor.page import summary
    from tfb2d.monitor.run import Monitor, Settings

    if _TEACHER.value and _LOGITS.value:
        sys.exit("error: --teacher labels the sample, --teacher_logits are its labels: give one of them")
    if not all(order.isdecimal() and 1 <= int(order) <= 5 for order in _ORDERS.value):
        sys.exit(f"error: --orders={','.join(_ORDERS.value)}: numbers from 1 to 5")
    try:
        settings = Settings(
            logs=_LOGS.value,
            model=_MODEL.value,
            output=Path(_OUTPUT.value),
            teacher=Path(_TEACHER.value) if _TEACHER.value else None,
            teacher_logits=_LOGITS.value,
            run=Path(_RUN.value) if _RUN.value else None,
            reference=_REFERENCE.value,
            test=_TEST.value,
            name=_NAME.value,
            version=_VERSION.value,
            sample=_SAMPLE.value,
            seed=_SEED.value,
            window=_WINDOW.value,
            orders=tuple(map(int, _ORDERS.value)),
            show_text=_SHOW_TEXT.value,
            progress=_PROGRESS.value,
            thresholds=Thresholds(_PSI.value, _FIDELITY.value, _NEW.value, _BROKEN.value, _SKEW.value, _ROWS.value),
        )
        result = Monitor(settings).run()
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"error: {error}")
    print(summary(result))
    print(f"{'page':<10} {settings.output / 'monitor.html'}")
    if result["next"]:
        print(f"{'next':<10} {result['next']}")
    if _FAIL.value and result["alerts"]:
        sys.exit(ALERTED)


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["logs", "model", "output"])
    app.run(main)


if __name__ == "__main__":
    run()
