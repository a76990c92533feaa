"""Reads JSON lines: each line is an object, whose keys are the columns."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tfb2d.data.columns import missing_column
from tfb2d.data.lines import decode, read_lines, reject_line, too_long
from tfb2d.data.rows import Progress, Row

PROBE_ROWS = 1000  # objects at the beginning; a column that none of them has is missing


def json_columns(path: Path) -> list[str]:
    """Returns the keys of the first PROBE_ROWS objects, in the order of first appearance."""
    objects = (_object(line.content) or {} for line in islice(read_lines(path, lambda _: None), PROBE_ROWS))
    return list(dict.fromkeys(key for value in objects for key in value))


def json_rows(path: Path, columns: Sequence[str], optional: Sequence[str], progress: Progress) -> Iterator[Row]:
    """Streams the rows; see `readers.read_rows`. Values keep their JSON types; a key that is left out is None."""
    seen: dict[str, None] = {}  # keys of the first objects, in order
    rows = 0

    def require_columns() -> None:
        for column in columns:
            if column not in seen:
                raise missing_column(path, column, columns, list(seen))

    for line in read_lines(path, progress):
        if not line.content.strip():
            continue
        rows += 1
        value = None if line.cut else _object(line.content)
        if line.cut:
            yield too_long(line)
        elif value is None:
            yield reject_line(line, "not a JSON object")
        else:
            if rows <= PROBE_ROWS:
                seen.update(dict.fromkeys(value))
            yield Row(line.number, tuple([value.get(column) for column in (*columns, *optional)]))
        if rows == PROBE_ROWS:
            require_columns()
    if 0 < rows < PROBE_ROWS:
        require_columns()


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(decode(content))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
