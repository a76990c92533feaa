"""Scores files with an exported model: every row, in order, with all its columns.

  python -m tfb2d.score --model=saved_models/quickstart --input=reviews.tsv --output=scored.tsv
  python -m tfb2d.score --model=saved_models/shop/3 --input='logs/*.parquet' --output=scored.parquet --fields=query=term

Reads and writes TSV, CSV, JSON lines (each also .gz or .zst) and Parquet, told by the file's ending. The output has the
input's columns and `score` (a calibrated probability) and `logit`; of a multi-class model `predicted`, `score_<class>` and
`logit_<class>`. It appears under its name when it is complete. Rows that cannot be scored go to OUTPUT.rejected.jsonl, each
with file, row, field and reason.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model", None, "The exported model: its folder (the highest version is taken) or a version's."
)
_INPUT = flags.DEFINE_list("input", None, "Files, globs or folders to score, apart by commas.")
_OUTPUT = flags.DEFINE_string("output", None, "The file to write; its ending says the format.")
_FIELDS = flags.DEFINE_list("fields", [], "Columns of the text fields where they have other names: field=column,...")
_PREFIX = flags.DEFINE_string("prefix", "", "Put before the names of the added columns.")
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
    from tfb2d.data.formats import kind_of
    from tfb2d.evaluation.batch import score_files
    from tfb2d.evaluation.scorer import Scorer, field_columns

    output = Path(_OUTPUT.value)
    try:
        kind_of(output)  # before the model takes its seconds
        scorer = Scorer(_MODEL.value)
        found = score_files(
            scorer,
            _INPUT.value,
            output,
            texts=field_columns(scorer.task.fields, _FIELDS.value),
            prefix=_PREFIX.value,
            max_rejected=_MAX_REJECTED.value,
            max_chars=_MAX_CHARS.value,
            quoting=_QUOTING.value,
            progress=_PROGRESS.value,
        )
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{found['rows']:,} rows scored into {output} in {found['seconds']:.1f} s ({found['rows_per_second']:,.0f} rows/s)"
    )
    for path, dialect in found["dialects"].items():
        print(f"{path} was read as {dialect}")
    if found["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["reasons"].items())
        print(f"{found['rejected']:,} rows rejected, listed in {output}.rejected.jsonl: {reasons}")
    if found["flattened"]:
        print(f"{found['flattened']:,} values held tabs or line breaks, which TSV cannot: they are spaces now")


def run() -> None:
    """The command line."""
    flags.mark_flags_as_required(["model", "input", "output"])
    app.run(main)


if __name__ == "__main__":
    run()
