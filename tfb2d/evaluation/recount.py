"""Computes a report's figures anew from the test split's logits, without any model or text.

  tfb2d recount results/quickstart_logits.parquet
  tfb2d recount runs/shop/report/test_logits.parquet

Prints the table of each seed in the file: the metrics of teacher, students and baselines, with the intervals, and what the
student keeps. Latencies and sizes are not in the file. `tfb2d/evaluation/test_logits.py` says what each column holds.
"""

from argparse import Namespace
from pathlib import Path

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
        for seed, results in read_test_logits(Path(file)).items():
            lines = print_table(summarise(results)).splitlines()
            known = [
                line for line in lines if not line.startswith("rows ")
            ]  # counts of the data stage are not in the file
            print(f"{file}: {results.name}, seed {seed}, {len(results.columns[0]):,} rows\n", *known, "", sep="\n")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("recount")
