"""Labels files in any format that the readers know, and passes columns through that identify their rows."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from tfb2d.data.tables import ShardWriter
from tfb2d.errors import DataError
from tfb2d.outcomes import Outcome
from tfb2d.resume import bring_up, fingerprint, set_aside
from tfb2d.runs import beside, locked
from tfb2d.scale.object_store import bring_here
from tfb2d.teachers.label import label_folder
from tfb2d.teachers.saved import read_about, teacher_identity

VERSION = 1  # of the code: raise it when the same teacher and files give other logits


@dataclass(frozen=True)
class LabelFilesOutcome(Outcome):
    """Counts the rows that were labelled, and those that were rejected."""

    rows: int
    rejected: int
    without_logit: int = 0  # of the rows: NaN in the table, the teacher gave no finite number


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
    """Writes a teacher's logits for files, as `label.label_folder` does for a table. What was stopped is resumed.

    Args:
      inputs: paths, globs, folders, `pypi:` resources, and files of object stores (`scale.object_store`).
      out: gets `part-*.parquet`: the text columns, those of `keep` as text, and the logits. Rows that cannot be used go to
        `<out>.rejected.jsonl`.
      columns: the text columns, in the order of the task's fields; by default those of the fields' names.
      keep: columns to pass through where the files have them.

    Raises:
      RunBusyError: another process labels into `out`.
      RunError: `out` holds files that are not of labelling.
      ConfigError: there is no saved teacher.
      DataError: another number of columns than the teacher reads, a file that cannot be used, or too many bad rows.
    """
    copies = beside(out, "inputs")  # of what is in object stores
    with locked(out, beside(out, "lock")):
        here = bring_here(inputs, copies)
        with _staged(beside(out, "rows")) as staged:
            outcome = _label_files(teacher, here, staged, out, config, columns, keep, reading, progress)
        shutil.rmtree(copies, ignore_errors=True)
        return outcome


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Gives a folder for the table of the files' rows, which is deleted at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _label_files(
    teacher: Path,
    inputs: Sequence[str],
    staged: Path,
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

    # All files are read before hours of labelling: what is wrong with them shows at once.
    schema = pa.schema([(column, pa.string()) for column in (*columns, *keep)])
    with Rejects(out.with_name(f"{out.name}.rejected.jsonl"), reading.max_rejected) as rejects:
        rejects.begin()
        with ShardWriter(staged, schema) as table:
            for batch in text_batches(paths, columns, keep, reading, rejects):
                table.write(batch)
        if not table.rows + rejects.count:
            raise DataError(f"{', '.join(inputs)}: no rows")
        rejects.check(table.rows + rejects.count)
    for path, dialect in rejects.dialects.items():
        logging.info("%s was read as %s", path, dialect)

    def work(folder: Path) -> LabelFilesOutcome:
        earlier, most = set_aside(folder), reading.max_rejected
        without = label_folder(teacher, staged, folder, config, progress, earlier, most, columns, keep)
        return LabelFilesOutcome(table.rows, rejects.count, without)

    return bring_up(out, made_from, work, LabelFilesOutcome)
