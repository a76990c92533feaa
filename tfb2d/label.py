"""Labels files with a teacher: sharded Parquet with the texts and a logit per class.

  python -m tfb2d.label --teacher=runs/quickstart/teachers/minilm --input=reviews.tsv --output=labelled
  python -m tfb2d.label --teacher=runs/shop/teachers/bert --input='logs/*.parquet' --output=labelled --fields=term,title

Reads TSV, CSV, JSON lines (each also .gz or .zst) and Parquet. The output folder gets `part-00000.parquet`, ... with the
text columns, those of --keep, and `logit` (of a multi-class teacher `logit_0`, `logit_1`, ...). The same command again
goes on after the last finished shard. Rows that cannot be labelled go to OUTPUT.rejected.jsonl, each with file, row,
field and reason.
KERAS_BACKEND=jax or torch runs the teacher there; on a CPU with AMX, PyTorch takes a third to two thirds of
TensorFlow's time.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from tfb2d.config import ConfigError, LabelConfig

_TEACHER = flags.DEFINE_string("teacher", None, "A saved teacher's folder.")
_INPUT = flags.DEFINE_list("input", None, "Files, globs or folders to label, apart by commas.")
_OUTPUT = flags.DEFINE_string("output", None, "The folder to write.")
_FIELDS = flags.DEFINE_list("fields", [], "The text columns, in the teacher's order. [default: called as its fields]")
_KEEP = flags.DEFINE_list("keep", ["id", "label"], "More columns to keep, where the files have them.")
_ROWS = flags.DEFINE_integer("rows_per_shard", LabelConfig().rows_per_shard, "Rows of a shard.", 1)
_TOKENS = flags.DEFINE_integer("batch_tokens", LabelConfig().batch_tokens, "Tokens of a forward pass.", 1)
_MAX_REJECTED = flags.DEFINE_float("max_rejected", 0.01, "Share of bad rows at which to stop.", 0.0, 1.0)
_MAX_CHARS = flags.DEFINE_integer("max_chars", 20_000, "A longer text makes its row a bad one.", 1)
_QUOTING = flags.DEFINE_enum(
    "quoting",
    "auto",
    ["auto", "csv", "backslash", "none"],
    "How TSV and CSV files were written; auto: CSV quotes, TSV as its fields look.",
)
_PROGRESS = flags.DEFINE_bool("progress", True, "Show a progress bar.")


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"what is {argv[1]!r}? Settings are given as --name=value")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tfb2d.data.errors import DataError
    from tfb2d.teachers.files import label_files
    from tfb2d.teachers.memory import keep_freed_memory

    keep_freed_memory()
    out = Path(_OUTPUT.value)
    try:
        found = label_files(
            Path(_TEACHER.value),
            _INPUT.value,
            out,
            LabelConfig(_ROWS.value, _TOKENS.value),
            columns=_FIELDS.value,
            keep=_KEEP.value,
            max_rejected=_MAX_REJECTED.value,
            max_chars=_MAX_CHARS.value,
            quoting=_QUOTING.value,
            progress=_PROGRESS.value,
        )
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{found.rows:,} rows labelled in {out}")
    if found.rejected:
        print(f"{found.rejected:,} rows rejected, listed in {out}.rejected.jsonl")


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["teacher", "input", "output"])
    app.run(main)


if __name__ == "__main__":
    run()
