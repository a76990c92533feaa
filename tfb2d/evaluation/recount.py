"""Computes a report's figures anew from the test split's logits, without any model or text.

  tfb2d recount results/quickstart_logits.parquet
  tfb2d recount runs/shop/report/test_logits.parquet

Prints the table of each seed in the file: the metrics of teacher, students and baselines, with the intervals, and what the
student keeps. Several seeds also have a table of means, which are the figures that `tfb2d record` wrote beside the file.
Latencies and sizes are not in the file. `tfb2d/evaluation/test_logits.py` says what each column holds.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    parser.group("what to compute").texts("files", "Files of test logits, from a run folder or beside a result.")


def run(options: Namespace) -> None:
    """Runs the command."""
    if not options.files:
        raise UserError("name at least one file of test logits")
    from tfb2d.evaluation.results import summarise
    from tfb2d.evaluation.table import print_table
    from tfb2d.evaluation.test_logits import read_test_logits

    for file in options.files:
        reports = {}
        for seed, results in read_test_logits(Path(file)).items():
            reports[seed] = summarise(results)
            _print(f"{file}: {results.name}, seed {seed}, {len(results.columns[0]):,} rows", print_table(reports[seed]))
        if len(reports) > 1:
            # Thresholds and warnings are of a training, not of the mean.
            means = {**_mean(list(reports.values())), "thresholds": {}, "warnings": []}
            _print(f"{file}: means of seeds {', '.join(map(str, reports))}", print_table(means))


def _print(title: str, table: str) -> None:
    """Prints a table without the data stage's counts of rows, which the file does not hold."""
    print(title, "", *(line for line in table.splitlines() if not line.startswith("rows ")), "", sep="\n")


def _mean(values: Sequence[Any]) -> Any:
    """Returns reports as one with the means of their numbers. What one of them lacks is None; texts are the first's."""
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values]) for key in first if all(key in value for value in values)}
    if isinstance(first, list):
        return [_mean(items) for items in zip(*values, strict=False)]
    return float(np.mean(values)) if isinstance(first, float) else first


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("recount")
