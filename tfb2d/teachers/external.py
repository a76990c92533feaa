"""Takes scores from outside (an LLM's, a click model's, another ranker's) in a teacher's place."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from absl import logging

from tfb2d.config import TeacherConfig
from tfb2d.data.join import LEAST_SHARE, Matches, ScoreTable, log_matches
from tfb2d.data.readers import AS_USUAL, Reading
from tfb2d.data.tables import iter_part, part_files
from tfb2d.data.task import Task
from tfb2d.teachers.shards import write_shard

TRANSFER = "transfer"  # the table that holds the scored texts themselves


def attach_splits(
    config: TeacherConfig, task: Task, splits: Mapping[str, tuple[Path, Path]], reading: Reading = AS_USUAL
) -> dict[str, dict[str, int]]:
    """Writes for each row of several tables the logits that the user's files hold for its texts.

    Scores of the transfer set alone are good ones. In a run the scored texts are part of it, so the log warns, with two
    examples, where fewer than half of the other tables' rows have a score: their texts may be written otherwise.

    The files may be in any order and hold more or fewer rows than the tables; `data.join` says how texts are matched. A
    text that was scored more than once gets the mean of its logits, and a row without a score NaN.

    Args:
      config: `logits` names the files, `logits_column` the column of scores.
      task: its fields are the names of the files' text columns.
      splits: source and destination by the table's name. The source is a folder of `part-*.parquet` with the text fields.
        The destination gets a part for each of them: the fields, and `logit` or `logit_0`, `logit_1`, ..., float32.

    Returns:
      Counts by the table's name: "matched" (rows with a score), "missing" (rows without), "unused" (scored texts that the
      table does not hold), and those of `data.join.Matches`.

    Raises:
      DataError: a file cannot be used, too many rows are bad, or the scores are of other rows than all tables together.
    """
    table = ScoreTable(task, config.logits, config.logits_column, reading)
    schema = pa.schema([(name, pa.string()) for name in task.fields])
    counts, of_tables = {}, {}
    for name, (source, out) in splits.items():
        here = Matches(rejected=table.rejects.count)
        table.used[:] = False
        out.mkdir(parents=True, exist_ok=True)
        for path in out.glob("part-*.parquet"):
            path.unlink()
        for index, part in enumerate(part_files(source)):
            rows = pa.Table.from_batches(iter_part(part, task.fields), schema)
            logits, matches = table.find([rows[field].to_pylist() for field in task.fields])
            write_shard(out, index, rows, logits)
            here = here.plus(matches)
        here.unused = int((~table.used).sum())
        of_tables[name] = here
        counts[name] = {
            **dataclasses.asdict(here),
            "matched": here.exact + here.loose,
            "missing": here.missing + here.ambiguous,
        }
    table.check()
    for name, here in of_tables.items():
        log_matches(config.logits, here, table.rejects.reasons, name)
    _warn_of_few(table, {name: each for name, each in counts.items() if name != TRANSFER})
    return counts


def _warn_of_few(table: ScoreTable, judged: Mapping[str, Mapping[str, int]]) -> None:
    """Logs a warning where fewer than half of the rows of the validation and test splits have a score."""
    matched = sum(counts["matched"] for counts in judged.values())
    rows = matched + sum(counts["missing"] for counts in judged.values())
    if matched < LEAST_SHARE * rows:
        logging.warning(
            "%s: scores match %s of the %s rows of %s. If these were scored, their texts are written otherwise. %s",
            ", ".join(map(str, table.files)),
            f"{matched:,}",
            f"{rows:,}",
            " and ".join(judged) or "the table",
            table.side_by_side(),
        )


def attach_logits(
    config: TeacherConfig, task: Task, source: Path, out: Path, reading: Reading = AS_USUAL
) -> dict[str, int]:
    """Writes the logits of a single table; see `attach_splits`."""
    return attach_splits(config, task, {"": (source, out)}, reading)[""]
