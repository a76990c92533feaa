"""Compares what compression costs and gains, on a finished run: float, int8 tables, budgets, and TFMOT on the dense layers.

  python -m tfb2d.compress --workdir=runs/quickstart
  python -m tfb2d.compress --workdir=runs/shop --forms=int8,post-training,qat,pruned-50+qat --epochs=2

Every form starts from the run's trained student and is judged on valid and test texts. Dense forms have int8 tables; those
in 8 bits are judged with weights and activations rounded, as an integer runtime computes them. Writes
<workdir>/compress.json.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from tfb2d.atomic import write_json
from tfb2d.config import ConfigError
from tfb2d.data.errors import DataError

FORMS = (
    "float",
    "int8",
    "post-training",
    "qat",
    "pruned-50",
    "pruned-80",
    "clusters-16",
    "pruned-50+qat",
    "clusters-16+qat",
)
ALL = (*FORMS, "pruned-50+clusters-16+qat")
_WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "The run folder; its student stage must be done.")
_FORMS = flags.DEFINE_list(
    "forms", list(ALL), "What to compare: float, int8, post-training, budget-MEGABYTES, or parts of pruned-PERCENT, "
    "clusters-NUMBER, qat joined by '+'."
)  # fmt: skip
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Epochs of each fine-tuning.", 1)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    workdir = Path(_WORKDIR.value)
    try:
        from tfb2d.compress.compare import compare
        from tfb2d.evaluation.table import layout
        from tfb2d.runs import Run

        run = Run(workdir, progress=False)
        found = compare(run, run.config(), _FORMS.value, _EPOCHS.value)
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"error: {error}")
    write_json(workdir / "compress.json", found)
    head = ["form", "weights", "zipped", "zeros", "accuracy valid", "test", "ROC-AUC valid", "test", "one row"]
    rows = [
        [
            one["form"],
            f"{one['megabytes']:.2f} MB",
            f"{one['zipped_megabytes']:.2f} MB",
            f"{100 * one['zeros']:.0f}%",
            *(f"{100 * one['figures'][split]['accuracy']:.2f}%" for split in ("valid", "test")),
            *(f"{one['figures'][split]['roc_auc']:.4f}" for split in ("valid", "test")),
            f"{one['single_us']:.0f} µs",
        ]
        for one in found
    ]
    print(layout([head, *rows]))


if __name__ == "__main__":
    app.run(main)
