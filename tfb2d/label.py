"""Labels files with a teacher: sharded Parquet with the texts and a logit per class.

  tfb2d label --teacher=runs/quickstart/teachers/minilm --input=reviews.tsv --output=labelled
  tfb2d label --teacher=runs/shop/teachers/bert --input='logs/*.parquet' --output=labelled --fields=term,title

Reads TSV, CSV, JSON lines (each also .gz or .zst) and Parquet. The output folder gets `part-00000.parquet`, ... with the
text columns, those of --keep, and `logit` (of a multi-class teacher `logit_0`, `logit_1`, ...). The same command again
goes on after the last finished shard. Rows that cannot be labelled go to OUTPUT.rejected.jsonl, each with file, row,
field and reason.
KERAS_BACKEND=jax or torch runs the teacher there; on a CPU with AMX, PyTorch takes a third to two thirds of
TensorFlow's time.
"""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tfb2d.arguments import reading_flags

if TYPE_CHECKING:
    from tfb2d.arguments import Parser


def add_arguments(parser: "Parser") -> None:
    """Adds the command's flags."""
    from tfb2d.config import LabelConfig

    files = parser.group("files")
    files.flag("teacher", "A saved teacher's folder.", required=True, metavar="DIR")
    files.words("input", "Files, globs or folders to label, separated by commas.", required=True, metavar="FILE,...")
    files.flag("output", "The folder to write.", required=True, metavar="DIR")
    files.words("fields", "The text columns, in the teacher's order. [default: called as its fields]")
    files.words("keep", "More columns to keep, where the files have them.", ["id", "label"])
    reading_flags(parser.group("reading"))
    speed = parser.group("work")
    speed.integer(
        "rows_per_shard", "Rows of a shard, the unit that is redone after a stop.", LabelConfig().rows_per_shard, 1
    )
    speed.integer("batch_tokens", "Tokens of a forward pass.", LabelConfig().batch_tokens, 1)
    speed.switch("progress", "Show a progress bar.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.config import LabelConfig
    from tfb2d.teachers.files import label_files
    from tfb2d.teachers.memory import keep_freed_memory

    keep_freed_memory()
    out = Path(options.output)
    labelled = label_files(
        Path(options.teacher),
        options.input,
        out,
        LabelConfig(options.rows_per_shard, options.batch_tokens),
        columns=options.fields,
        keep=options.keep,
        max_rejected=options.max_rejected,
        max_chars=options.max_chars,
        quoting=options.quoting,
        progress=options.progress,
    )
    print(f"{labelled.rows:,} rows labelled in {out}")
    if labelled.rejected:
        print(f"{labelled.rejected:,} rows rejected, listed in {out}.rejected.jsonl")


if __name__ == "__main__":
    from tfb2d.cli import door

    door("label")
