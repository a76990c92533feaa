"""Labels files in any format that the readers know, and passes columns through that tell their rows apart."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from absl import logging

from tfb2d.atomic import fingerprint_files
from tfb2d.config import LabelConfig
from tfb2d.config.mapping import changed_settings
from tfb2d.data.checked_rows import text_batches
from tfb2d.data.files import expand
from tfb2d.data.readers import AS_USUAL, Reading, columns_of
from tfb2d.data.rejects import Rejects
from tfb2d.errors import DataError
from tfb2d.outcomes import Outcome
from tfb2d.resume import bring_up, fingerprint, set_aside
from tfb2d.runs import beside, locked
from tfb2d.scale.object_store import bring_here
from tfb2d.teachers.label import label_rows
from tfb2d.teachers.saved import read_about, teacher_identity

VERSION = 1  # of the code: raise it when the same teacher and files give other logits


@dataclass(frozen=True)
class LabelFilesOutcome(Outcome):
    """Counts the rows that were labelled, and those that were rejected."""

    rows: int
    rejected: int
    without_logit: int = 0  # of the rows: NaN stands in the table, the teacher gave no finite number


def label_files(
    teacher: Path,
    inputs: Sequence[str],
    out: Path,
    config: LabelConfig,
    columns: Sequence[str] = (),
    keep: Sequence[str] = ("id", "label"),
    reading: Reading = AS_USUAL,
    progress: bool = True,
) -> LabelFilesOutcome:
    """Writes a teacher's logits for files, as `label.label_folder` does for a table. What was stopped goes on.

    Args:
      teacher: a saved teacher's folder.
      inputs: paths, globs, folders, `pypi:` resources, and files of object stores (`scale.object_store`).
      out: gets `part-*.parquet`: the text columns, those of `keep` as text, and the logits. Rows
        that cannot be used go to `<out>.rejected.jsonl`.
      config: shard and batch sizes.
      columns: the text columns, in the order of the task's fields; by default those of the fields' names.
      keep: columns to pass through where the files have them.
      reading: how files are read.
      progress: whether to show a progress bar.

    Returns:
      How many rows were labelled, and how many rejected.

    Raises:
      RunBusyError: another process labels into `out`.
      RunError: `out` holds files that are not of labelling.
      ConfigError: there is no saved teacher.
      DataError: another number of columns than the teacher reads, a file that cannot be used, or too many bad rows.
    """
    copies = beside(out, "inputs")  # of what stands in object stores
    with locked(out, beside(out, "lock")):
        here = bring_here(inputs, copies)
        outcome = _label_files(teacher, here, out, config, columns, keep, reading, progress)
        shutil.rmtree(copies, ignore_errors=True)
        return outcome


def _label_files(
    teacher: Path,
    inputs: Sequence[str],
    out: Path,
    config: LabelConfig,
    columns: Sequence[str],
    keep: Sequence[str],
    reading: Reading,
    progress: bool,
) -> LabelFilesOutcome:
    fields = read_about(teacher)["task"]["fields"]
    columns = tuple(columns or fields)
    if len(columns) != len(fields):
        raise DataError(f"the teacher reads {len(fields)} columns ({', '.join(fields)}), not {len(columns)}")
    paths = expand(inputs)
    present = {column for path in paths for column in columns_of(path, reading.quoting)}
    keep = [column for column in keep if column in present and column not in columns]
    read_as = (columns, keep, reading.max_chars, reading.quoting)
    made_from = fingerprint(
        VERSION, teacher_identity(teacher), *read_as, changed_settings(config), fingerprint_files(paths)
    )

    rows = 0
    with Rejects(out.with_name(f"{out.name}.rejected.jsonl"), reading.max_rejected) as rejects:
        rejects.begin()
        # Once through all files before hours of labelling: what is wrong with them shows at once.
        for batch in text_batches(paths, columns, keep, reading, rejects):
            rows += batch.num_rows
        if not rows + rejects.count:
            raise DataError(f"{', '.join(inputs)}: no rows")
        rejects.check(rows + rejects.count)
    for path, dialect in rejects.dialects.items():
        logging.info("%s was read as %s", path, dialect)

    def work(folder: Path) -> LabelFilesOutcome:
        def rows_from(first: int) -> Iterator[pa.RecordBatch]:
            for batch in text_batches(paths, columns, keep, reading, Rejects(None, 1)):
                yield batch.slice(first)
                first = max(0, first - batch.num_rows)

        earlier = set_aside(folder)
        without = label_rows(teacher, rows_from, rows, columns, folder, config, progress, earlier, reading.max_rejected)
        return LabelFilesOutcome(rows, rejects.count, without)

    return bring_up(out, made_from, work, LabelFilesOutcome)
