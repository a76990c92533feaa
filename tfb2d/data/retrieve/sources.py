"""Reads queries or titles from files: one text a line, or a table with the field's column."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tfb2d.config import DataConfig
from tfb2d.data.checks import check_texts
from tfb2d.data.files import expand
from tfb2d.data.lines import decode, read_lines, too_long
from tfb2d.data.readers import read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.rows import Row
from tfb2d.errors import DataError

LINES = (".txt", ".txt.gz", ".txt.zst")  # endings of files with one text a line and no header


def read_source(files: Sequence[str], field: str, data: DataConfig, rejects: Rejects) -> list[str]:
    """Reads the distinct texts of a file set, in order, without spaces around them.

    Args:
      files: paths, globs, folders, `pypi:` resources. A `.txt` file (`.txt.gz`, `.txt.zst`) has one text a line.
      field: the column of tables.
      data: `quoting` and `max_chars`.
      rejects: gets the rows that cannot be used.

    Raises:
      DataError: a file that cannot be used, no text at all, or more rows rejected than `data.max_rejected` allows.
    """
    texts: dict[str, None] = {}
    rows = 0
    rejects.begin()
    for path in expand(files):
        for row in _rows(path, field, data, rejects):
            rows += row.lines
            values = ["" if value is None else value for value in row.values]
            problem = row.problem or check_texts([field], values, data.max_chars)
            if problem:
                rejects.add(path, row.number, *problem, lines=row.lines)
            else:
                rejects.keep(row.lines)
                texts[values[0].strip()] = None
    rejects.check(rows)
    if not texts:
        raise DataError(f"{', '.join(files)}: no {field}")
    return list(texts)


def _rows(path: Path, field: str, data: DataConfig, rejects: Rejects) -> Iterator[Row]:
    if not path.name.lower().endswith(LINES):
        yield from read_rows(path, (field,), (), None, data.quoting, rejects.dialects, data.max_chars)
        return
    rejects.dialects[str(path)] = "a text a line"
    try:
        for line in read_lines(path, lambda _: None):
            if line.content.strip():
                yield too_long(line) if line.cut else Row(line.number, (decode(line.content),))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
