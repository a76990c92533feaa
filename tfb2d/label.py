"""Labels files with a teacher: sharded Parquet with the texts and a logit per class.

  tfb2d label --teacher=runs/quickstart/teachers/minilm --input=reviews.tsv --output=labelled
  tfb2d label --teacher=runs/shop/teachers/bert --input='logs/*.parquet' --output=labelled --fields=term,title
  tfb2d label ... --engine=ray --ray_address=auto --actors=8 --price_per_hour=12.5
  tfb2d label ... --input='s3://logs/2026/*.parquet?region=eu-west-1'

Reads TSV, CSV, JSON lines (each also .gz or .zst) and Parquet; files of object stores are copied to disk first. The output
folder gets `part-00000.parquet`, ... with the text columns, those of --keep, and `logit` (of a multi-class teacher
`logit_0`, `logit_1`, ...). The same command again continues with the shards that are missing. Rows that cannot be labelled
go to OUTPUT.rejected.jsonl, each with file, row, field and reason. A row for which the teacher gives no finite number
stays, its logit is NaN; they are counted.
KERAS_BACKEND=jax or torch runs the teacher there; on a CPU with AMX, PyTorch takes a third to a half of TensorFlow's
time for MPNet.
--engine=ray spreads the shards over a Ray cluster whose machines share the storage of teacher and output. The shards are
the same, byte for byte on the same kind of machine, and either engine continues with what the other began.
"""

from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import Parser, reading_flags
from tfb2d.errors import counted


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    from tfb2d.config.label import ENGINES, LabelConfig

    default = LabelConfig()
    files = parser.group("files")
    files.flag("teacher", "A saved teacher's folder.", required=True, metavar="DIR")
    files.words("input", "Files, globs or folders to label, separated by commas.", required=True, metavar="FILE,...")
    files.flag("output", "The folder to write.", required=True, metavar="DIR")
    files.words("fields", "The text columns, in the teacher's order. [default: called as its fields]")
    files.words("keep", "More columns to keep, where the files have them.", ["id", "label"])
    reading_flags(parser.group("reading"))
    work = parser.group("work")
    work.integer("rows_per_shard", "Rows of a shard, the unit that is redone after a stop.", default.rows_per_shard, 1)
    work.integer("batch_tokens", "Tokens of a forward pass.", default.batch_tokens, 1)
    work.switch("progress", "Show a progress bar.", True)
    work.real("price_per_hour", "What the machines cost an hour, together; the bar then shows the cost.", 0.0, 0.0)
    work.choice(
        "engine", "Works in this process, or in the actors of Ray (pip install 'tfb2d[ray]').", "local", ENGINES
    )
    ray = parser.group("Ray")
    ray.flag("ray_address", "The cluster: auto, HOST:6379 or ray://HOST:10001. [default: Ray starts on this machine]")
    ray.integer("actors", "Processes with a teacher each; 0: one a GPU or, without GPUs, one a machine.", 0, 0)
    text = "CPUs that Ray sets aside for each; with --actors, also its threads."
    ray.real("cpus_per_actor", text, default.ray.cpus_per_actor, 0.0)
    ray.real("gpus_per_actor", "GPUs, or a share of one, for each. [default: 1 where the cluster has GPUs]", None, 0.0)
    ray.real("memory_per_actor", "GiB that Ray sets aside for each; 0 sets none aside.", 0.0, 0.0)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.config.label import LabelConfig, RayConfig
    from tfb2d.data.readers import Reading
    from tfb2d.teachers.files import label_files
    from tfb2d.teachers.memory import keep_freed_memory

    keep_freed_memory()
    out = Path(options.output)
    gpus = -1.0 if options.gpus_per_actor is None else options.gpus_per_actor
    ray = RayConfig(options.ray_address or "", options.actors, options.cpus_per_actor, gpus, options.memory_per_actor)
    labelled = label_files(
        Path(options.teacher),
        options.input,
        out,
        LabelConfig(options.rows_per_shard, options.batch_tokens, options.engine, ray, options.price_per_hour),
        columns=options.fields,
        keep=options.keep,
        reading=Reading.of(options),
        progress=options.progress,
    )
    print(f"{counted(labelled.rows, 'row')} labelled in {out}")
    if labelled.rejected:
        print(f"{counted(labelled.rejected, 'row')} rejected, listed in {out}.rejected.jsonl")
    if labelled.without_logit:
        print(f"{counted(labelled.without_logit, 'row')} without a logit (NaN): the teacher gave no finite number")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("label")
