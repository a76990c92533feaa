"""Prepares logs for labelling: one row of each text, shuffled, without held-out texts. Goes on after a stop.

  tfb2d prepare --input='logs/*.parquet' --output=transfer --fields=term,title --held_out=test.tsv,valid.tsv
  tfb2d prepare --input=reviews.tsv --output=transfer --fields=text --near=0.9 --seed=1
  tfb2d prepare ... --engine=ray --ray_address=auto --actors=8
  tfb2d label --teacher=runs/shop/teachers/bert --input=transfer --output=labelled --fields=term,title

A labelled row costs a teacher's forward pass, so a text should be labelled once, and a test text never. Left out are:
  rejected         rows that cannot be used, listed in OUTPUT.rejected.jsonl
  leaked           texts of --held_out, whatever their case, punctuation and spacing; near leaked: nearly such texts
  group leaked     rows whose --group, a query for example, is one of the held-out rows
  duplicates       rows with the text of another; of its spellings the first in alphabetical order stays
  near duplicates  rows with nearly the words of an earlier row, field by field (--near; pip install 'tfb2d[dedup]')
Numbers, signs and words of one or two letters count whole: "15 mm" is never near "1.5 mm", nor "C#" near "C++". Words
must have spaces between them.

OUTPUT gets `part-00000.parquet`, ... and `_manifest.json` with the counts, which sum up to the rows read. The order
depends on the texts and --seed alone: the same rows, cut into other files, give the same output, byte for byte, by
either engine. Memory does not grow with the rows, only with the held-out ones; on disk the work takes about twelve times
the text. The same command again continues where it was stopped. --engine=ray spreads the work over machines that
share the storage of input and output; a file is read by one of them, so large logs should be several files.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser, reading_flags

EXTRA = "dedup"


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    from tfb2d.config.label import ENGINES

    files = parser.group("files")
    files.words("input", "Files, globs or folders of rows, separated by commas.", required=True, metavar="FILE,...")
    files.flag("output", "The folder to write.", required=True, metavar="DIR")
    files.words("fields", "The text columns; together they are a row's text.", required=True)
    files.words("keep", "More columns to keep, where the files have them.", ["id", "label"])
    files.words("held_out", "Files with rows that must not leak, such as test and valid.", metavar="FILE,...")
    files.flag("group", "A column whose values must not be shared with them, such as the query.", "", metavar="COLUMN")
    reading_flags(parser.group("reading"))
    work = parser.group("work")
    work.real("near", "Jaccard similarity of words from which on a text is near another; 0: off.", 0.8, 0.0, 1.0)
    work.integer("seed", "Of the shuffle.", 0, 0)
    work.integer("rows_per_shard", "Rows of an output file.", 65_536, 1)
    text = "Megabytes of rows that are brought together at once; memory grows with it, the number of small reads falls."
    work.integer("part_mb", text, 32, 1)
    work.switch("progress", "Show a progress bar.", True)
    work.choice(
        "engine", "Works in this process, or in the actors of Ray (pip install 'tfb2d[ray]').", "local", ENGINES
    )
    ray = parser.group("Ray")
    ray.flag("ray_address", "The cluster: auto, HOST:6379 or ray://HOST:10001. [default: Ray starts on this machine]")
    ray.integer("actors", "Processes that work; 0: one a machine.", 0, 0)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.config.label import RayConfig
    from tfb2d.scale.prepare_config import PrepareConfig
    from tfb2d.scale.prepare_files import prepare_files

    config = PrepareConfig(
        fields=tuple(options.fields),
        keep=tuple(options.keep),
        group=options.group,
        near=options.near,
        seed=options.seed,
        rows_per_shard=options.rows_per_shard,
        part_mb=options.part_mb,
        max_rejected=options.max_rejected,
        max_chars=options.max_chars,
        quoting=options.quoting,
        engine=options.engine,
        ray=RayConfig(options.ray_address or "", options.actors, gpus_per_actor=0.0),
    )
    outcome = prepare_files(options.input, options.held_out, Path(options.output), config, options.progress)
    print(f"{outcome.kept:,} of {outcome.rows:,} rows kept in {options.output}")
    for name, count in outcome.to_json().items():
        if count and name not in ("rows", "kept", "shards"):
            print(f"{count:12,} {name.replace('_', ' ')}")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("prepare")
