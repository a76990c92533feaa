"""Labelling: a saved teacher's logits of a table's rows, in this process or by Ray's actors; and how it continues."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
from absl import logging
from tqdm import tqdm

from tfb2d.config import LabelConfig
from tfb2d.data.tables import TableRows, part_files
from tfb2d.errors import DataError, RunError
from tfb2d.teachers import shards
from tfb2d.teachers.saved import read_about
from tfb2d.teachers.shard_labeller import LabelJob, made_by

MAX_WITHOUT = 0.01  # share of rows without a logit at which to stop


def label_folder(
    teacher: Path,
    source: Path,
    out: Path,
    config: LabelConfig,
    progress: bool = True,
    earlier: Sequence[Path] = (),
    max_without: float = MAX_WITHOUT,
    fields: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> int:
    """Writes a teacher's logits for a table, row for row, `config.rows_per_shard` rows a shard.

    After a kill it continues with the shards that are missing, whichever engine wrote the others, and ends with the same
    bytes.

    Args:
      source: folder of `part-*.parquet` with the text columns.
      out: gets `part-*.parquet`: the text columns, those of `keep`, and `logit` or `logit_0`, `logit_1`, ..., float32.
      earlier: folders with this teacher's logits of other tables; texts in them keep their logits.
      max_without: share of rows without a logit at which to stop.
      fields: the text columns, in the order of the task's fields; by default those of the fields' names.
      keep: more columns of `source`, which are passed through.

    Returns:
      How many rows have no logit (NaN), because the teacher gave no finite number.

    Raises:
      ConfigError: there is no saved teacher.
      DataError: there is no table, it lacks a field or is damaged, or too many rows have no logit.
      RunError: `out` holds shards of another teacher, or of other rows.
    """
    fields = tuple(fields or read_about(teacher)["task"]["fields"])
    columns = (*fields, *keep)
    first = part_files(source)[0]
    rows = TableRows(source, columns)
    missing = set(fields) - set(pq.read_schema(first).names)
    if missing:
        raise DataError(f"{first}: there is no column {min(missing)!r}, which the teacher {teacher} reads")
    maker = made_by(teacher, fields)
    shards.begin(out, {"made_by": maker, "rows": len(rows), "rows_per_shard": config.rows_per_shard})
    todo = shards.missing_shards(out, max(1, -(-len(rows) // config.rows_per_shard)))
    _check_same_rows(rows, columns, out, config, todo)
    job = LabelJob(
        str(teacher.absolute()),
        str(source.absolute()),
        rows.part_rows,
        columns,
        fields,
        str(out.absolute()),
        config.rows_per_shard,
        config.batch_tokens,
        maker,
        tuple(str(folder.absolute()) for folder in earlier),
        _environment(config) if config.engine == "ray" else (),
    )
    with closing(LabelProgress(out, len(rows), config, todo, progress, max_without)) as bar:
        for counts in _done(job, todo, config):
            bar.update(*counts)
    return bar.without


def _done(job: LabelJob, todo: Sequence[int], config: LabelConfig) -> Iterator[tuple[int, int]]:
    """Labels the shards that are missing; yields the rows of each, and how many of them have no logit."""
    if config.engine == "ray":
        from tfb2d.scale.ray_actors import run_on_actors

        for index, counts in run_on_actors(job, todo, config.ray):
            if not shards.shard_path(Path(job.out), index).exists():
                raise DataError(
                    f"{job.out} lacks shard {index}, which an actor wrote; all machines must share the folder"
                )
            yield counts
    elif todo:
        yield from map(job.start(), todo)


def _environment(config: LabelConfig) -> tuple[tuple[str, str | None], ...]:
    """Returns the variables that actors need: the driver's backend, and how many threads each has.

    With a stated number of actors, several share a machine, and each has as many threads as CPUs. An actor that has a
    machine for itself takes all cores; Ray would give PyTorch one.
    """
    shared = str(max(1, int(config.ray.cpus_per_actor))) if config.ray.actors else None
    threads = {name: os.environ.get(name, shared) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    return (("KERAS_BACKEND", os.environ.get("KERAS_BACKEND")), *threads.items())


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


class LabelProgress:
    """A progress bar that counts the rows of a folder of shards, and those `without` a logit.

    `todo` are the shards that are missing; the others are counted as they are. From a share of `max_without` on rows
    without a logit raise DataError.
    """

    def __init__(
        self, out: Path, rows: int, config: LabelConfig, todo: Sequence[int], show: bool, max_without: float
    ) -> None:
        missing, starts = set(todo), range(0, rows, config.rows_per_shard)
        present = [i for i in range(len(starts)) if i not in missing]
        done = sum(min(config.rows_per_shard, rows - starts[i]) for i in present)
        self.without = sum(shards.without_logit(shards.shard_path(out, i)) for i in present)
        self._out, self._rows, self._max, self._price = out, rows, max_without, config.price_per_hour
        self._labelled, self._begin = 0, time.monotonic()
        self._bar = tqdm(total=rows, initial=done, desc=f"labelling {out.name}", unit="row", disable=not show)
        self._check()

    def update(self, rows: int, without: int) -> None:
        """Takes note of a shard; raises DataError where too many rows have no logit."""
        self._labelled += rows
        self.without += without
        if self._price:
            cost = self._price * (time.monotonic() - self._begin) / 3600
            whole = cost * (self._rows - self._bar.n + self._labelled - rows) / self._labelled
            self._bar.set_postfix_str(f"cost {cost:.2f} of about {whole:.2f}", refresh=False)
        self._bar.update(rows)
        self._check()

    def close(self) -> None:
        """Ends the bar, and logs the rate and the cost."""
        self._bar.close()
        if not self._labelled:
            return
        seconds = time.monotonic() - self._begin
        cost = f", cost {self._price * seconds / 3600:.2f} at {self._price:g} an hour" if self._price else ""
        rate = self._labelled / max(seconds, 1e-9)
        logging.info("%s rows labelled in %.0f s: %.0f rows/s%s", f"{self._labelled:,}", seconds, rate, cost)
        if self.without:
            logging.warning("%s: %d rows have no logit: the teacher gave no finite number", self._out, self.without)

    def _check(self) -> None:
        if self.without > self._max * self._rows:
            raise DataError(
                f"{self._out}: the teacher gives no finite number for {self.without:,} of {self._rows:,} rows, more than "
                f"the share of {self._max:g} that max_rejected allows; its weights are damaged, or its precision overflows"
            )
