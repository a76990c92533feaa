"""Scores files with an exported model: every row, in order, with all its columns.

  tfb2d score --model=saved_models/quickstart --input=reviews.tsv --output=scored.tsv
  tfb2d score --model=saved_models/shop/3 --input='logs/*.parquet' --output=scored.parquet --fields=query=term

Reads and writes TSV, CSV, JSON lines (each also .gz or .zst) and Parquet, chosen by the file's ending. The output has the
input's columns and `score` (a calibrated probability) and `logit`; of a multi-class model `predicted`, `score_<class>` and
`logit_<class>`. It appears under its name when it is complete. Rows that cannot be scored go to OUTPUT.rejected.jsonl, each
with file, row, field and reason.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser, model_flag, reading_flags
from tfb2d.errors import counted


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    files = parser.group("files")
    model_flag(files)
    files.words("input", "Files, globs or folders to score, separated by commas.", required=True, metavar="FILE,...")
    files.flag("output", "The file to write; its ending says the format.", required=True, metavar="FILE")
    files.words("fields", "Columns of the text fields where they have other names.", metavar="FIELD=COLUMN,...")
    files.flag("prefix", "Put before the names of the added columns.", "")
    reading_flags(parser.group("reading"))
    parser.group("work").switch("progress", "Show a progress bar.", True)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.data.files import format_of

    output = Path(options.output)
    format_of(output)  # refuses an unknown ending before the model is loaded
    from tfb2d.data.readers import Reading
    from tfb2d.evaluation.batch import score_files
    from tfb2d.evaluation.scorer import Scorer, field_columns

    scorer = Scorer(options.model)
    scored = score_files(
        scorer,
        options.input,
        output,
        texts=field_columns(scorer.task.fields, options.fields),
        prefix=options.prefix,
        reading=Reading.of(options),
        progress=options.progress,
    )
    rate = f"{scored.seconds:.1f} s ({scored.rows_per_second:,.0f} rows/s)"
    print(f"{counted(scored.rows, 'row')} scored into {output} in {rate}")
    for path, dialect in scored.dialects.items():
        print(f"{path} was read as {dialect}")
    if scored.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in scored.reasons.items())
        print(f"{counted(scored.rejected, 'row')} rejected, listed in {output}.rejected.jsonl: {reasons}")
    if scored.flattened:
        print(
            f"{counted(scored.flattened, 'value')} with tabs or line breaks, which TSV cannot hold: they are spaces now"
        )


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("score")
