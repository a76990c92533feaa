"""Compares what compression costs and gains, on a finished run: float, int8 tables, budgets, and TFMOT on the dense layers.

  tfb2d compress --workdir=runs/quickstart
  tfb2d compress --workdir=runs/shop --forms=int8,post-training,qat,pruned-50+qat --epochs=2

Every form starts from the run's trained student and is measured on the splits valid and test. Forms of the dense layers
have int8 tables. Forms in 8 bits are measured with rounded weights and activations, as an integer runtime computes them.
Writes <workdir>/compress.json.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser

ALL = ["float", "int8", "post-training", "qat", "pruned-50", "pruned-80", "clusters-16"]
ALL += ["pruned-50+qat", "clusters-16+qat", "pruned-50+clusters-16+qat"]


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to compare")
    what.flag("workdir", "The run folder; its student stage must be done.", "runs/quickstart", metavar="DIR")
    dense = "parts of pruned-PERCENT, clusters-NUMBER, qat joined by '+'"
    what.words("forms", f"Forms: float, int8, post-training, budget-MEGABYTES, or {dense}.", ALL)
    what.integer("epochs", "Epochs of each fine-tuning.", 2, 1)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.atomic import write_json
    from tfb2d.compress.compare import compare
    from tfb2d.evaluation.table import layout
    from tfb2d.runs import Run

    workdir = Path(options.workdir)
    finished = Run(workdir, progress=False)
    figures = compare(finished, finished.config(), options.forms, options.epochs)
    write_json(workdir / "compress.json", figures)
    head = ["form", "weights", "zipped", "zeros", "accuracy valid", "test", "ROC-AUC valid", "test", "one row"]
    rows = [
        [
            form["form"],
            f"{form['megabytes']:.2f} MB",
            f"{form['zipped_megabytes']:.2f} MB",
            f"{100 * form['zeros']:.0f}%",
            *(f"{100 * form['figures'][split]['accuracy']:.2f}%" for split in ("valid", "test")),
            *(f"{form['figures'][split]['roc_auc']:.4f}" for split in ("valid", "test")),
            f"{form['single_us']:.0f} µs",
        ]
        for form in figures
    ]
    print(layout([head, *rows]))


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("compress")
