"""Labelling: a saved teacher's logits of any rows, in this process or by Ray's actors."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfb2d.config import LabelConfig
from tfb2d.data.tables import ShardWriter, TableRows, part_files, regroup
from tfb2d.errors import DataError, RunError
from tfb2d.teachers import shards
from tfb2d.teachers.progress import LabelProgress
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.shard_labeller import LabelJob, ShardLabeller, made_by

RowsFrom = Callable[[int], Iterator[pa.RecordBatch]]  # streams the source's rows from an index on
MAX_WITHOUT = 0.01  # share of rows without a logit at which to stop
STAGED = "_rows"  # subfolder with the rows of files, for actors to read; deleted once they are labelled


def label_folder(
    teacher: Path,
    source: Path,
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
    max_without: float = MAX_WITHOUT,
) -> int:
    """Writes a teacher's logits for a table, row for row, `config.rows_per_shard` rows a shard.

    After a kill it goes on with the shards that are missing, whichever engine wrote the others, and ends with the same
    bytes.

    Args:
      teacher: a saved teacher's folder.
      source: folder of `part-*.parquet` with the task's text fields.
      out: gets `part-*.parquet`: the fields, and `logit` or `logit_0`, `logit_1`, ..., float32.
      config: shard and batch sizes, and the engine.
      progress: whether to show a progress bar.
      earlier: folders with this teacher's logits of other tables; texts that stand there keep their logits.
      max_without: share of rows without a logit at which to stop.

    Returns:
      How many rows have no logit (NaN), because the teacher gave no finite number.

    Raises:
      ConfigError: there is no saved teacher.
      DataError: there is no table, it lacks a field or is damaged, or too many rows have no logit.
      RunError: `out` holds shards of another teacher, or of other rows.
    """
    fields = tuple(read_about(teacher)["task"]["fields"])
    first = part_files(source)[0]
    rows = TableRows(source, fields)
    missing = set(fields) - set(pq.read_schema(first).names)
    if missing:
        raise DataError(f"{first}: there is no column {min(missing)!r}, which the teacher {teacher} reads")
    return _label_table(teacher, source, rows, fields, fields, out, config, progress, earlier, max_without)


def label_rows(
    teacher: Path,
    rows_from: RowsFrom,
    rows: int,
    fields: Sequence[str],
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
    max_without: float = MAX_WITHOUT,
) -> int:
    """Writes a teacher's logits for a stream of rows; see `label_folder`.

    Actors of Ray cannot read a stream: for them its rows are written to `out` first, and deleted once they are labelled.

    Args:
      teacher: a saved teacher's folder.
      rows_from: streams the rows from an index on; columns that are not in `fields` are passed through.
      rows: how many there are.
      fields: the text columns, in the order of the task's fields.
      out: where the shards go.
      config: shard and batch sizes, and the engine.
      progress: whether to show a progress bar.
      earlier, max_without: see `label_folder`.

    Returns:
      How many rows have no logit.
    """
    todo = _begin(teacher, fields, rows, out, config)
    if todo and rows and config.engine != "local":
        source = _staged(rows_from, out)
        columns = pq.read_schema(part_files(source)[0]).names
        table = TableRows(source, columns)
        without = _label_table(teacher, source, table, columns, fields, out, config, progress, earlier, max_without)
        shutil.rmtree(source)
        return without
    with LabelProgress(out, rows, config, todo, progress, max_without) as bar:
        if todo:
            labeller = ShardLabeller(teacher, fields, out, config.batch_tokens, earlier)
            first, missing = todo[0], set(todo)
            for index, table in enumerate(
                regroup(rows_from(first * config.rows_per_shard), config.rows_per_shard), first
            ):
                if index in missing:
                    bar.update(*labeller.label(index, table))
            if not rows:
                labeller.label(0, pa.table({name: pa.array([], pa.string()) for name in fields}))
    return bar.without


def _label_table(
    teacher: Path,
    source: Path,
    rows: TableRows,
    columns: Sequence[str],
    fields: Sequence[str],
    out: Path,
    config: LabelConfig,
    progress: bool,
    earlier: Sequence[Path],
    max_without: float,
) -> int:
    """Labels a table whose rows can be read by their index; see `label_folder`."""
    todo = _begin(teacher, fields, len(rows), out, config)
    _check_same_rows(rows, columns, out, config, todo)
    job = LabelJob(
        str(teacher.absolute()),
        str(source.absolute()),
        rows.part_rows,
        tuple(columns),
        tuple(fields),
        str(out.absolute()),
        config.rows_per_shard,
        config.batch_tokens,
        made_by(teacher, fields),
        tuple(str(folder.absolute()) for folder in earlier),
        _environment(config) if config.engine == "ray" else (),
    )
    with LabelProgress(out, len(rows), config, todo, progress, max_without) as bar:
        if config.engine == "ray":
            from tfb2d.scale.ray_actors import run_on_actors

            for index, counts in run_on_actors(job, todo, config.ray):
                if not shards.shard_path(out, index).exists():
                    raise DataError(
                        f"{out} lacks shard {index}, which an actor wrote; all machines must share the folder"
                    )
                bar.update(*counts)
        elif todo:
            work = job.start()
            for index in todo:
                bar.update(*work(index))
    return bar.without


def _environment(config: LabelConfig) -> tuple[tuple[str, str | None], ...]:
    """Returns the variables that actors need: the driver's backend, and how many threads each has.

    With a stated number of actors, several share a machine, and each has as many threads as CPUs. An actor that has a
    machine for itself takes all cores; Ray would give PyTorch one.
    """
    shared = str(max(1, int(config.ray.cpus_per_actor))) if config.ray.actors else None
    threads = {name: os.environ.get(name, shared) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    return (("KERAS_BACKEND", os.environ.get("KERAS_BACKEND")), *threads.items())


def _begin(teacher: Path, fields: Sequence[str], rows: int, out: Path, config: LabelConfig) -> list[int]:
    """Writes the manifest; returns the shards that are missing."""
    manifest = {"made_by": made_by(teacher, fields), "rows": rows, "rows_per_shard": config.rows_per_shard}
    shards.begin(out, manifest)
    return shards.missing_shards(out, max(1, -(-rows // config.rows_per_shard)))


def _check_same_rows(
    rows: TableRows, columns: Sequence[str], out: Path, config: LabelConfig, todo: Sequence[int]
) -> None:
    """Raises RunError where a shard that is there holds other texts than the table."""
    index = next((present for present, missing in enumerate(todo) if present != missing), len(todo))
    path = shards.shard_path(out, index)
    if not path.exists():
        return
    texts = rows.read(index * config.rows_per_shard, config.rows_per_shard)
    if not pq.read_table(path, columns=list(columns)).equals(texts):
        raise RunError(f"{path} holds other rows than the table that is to be labelled; name another folder")


def _staged(rows_from: RowsFrom, out: Path) -> Path:
    """Writes a stream's rows into a subfolder, once; returns it."""
    source = out / STAGED
    if not source.exists():
        fresh = out / f".{STAGED}.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        batches = rows_from(0)
        batch = next(batches)
        with ShardWriter(fresh, batch.schema) as writer:
            writer.write(batch)
            for batch in batches:
                writer.write(batch)
        fresh.rename(source)
    return source
