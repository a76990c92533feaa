"""Tables in files, for tests of all rooms: written in each format that the readers know, and read back."""

from pathlib import Path
from typing import Any

from tfb2d.data.readers import read_rows
from tfb2d.data.writers import RowWriter


def write(path: Path, columns: list[str], rows: list[tuple[Any, ...]]) -> Path:
    """Writes rows in the format of the path's ending; returns the path."""
    with RowWriter(path, path, columns) as out:
        out.write(rows)
    return path


def read(path: Path, columns: list[str]) -> list[tuple[Any, ...]]:
    """Reads the values of these columns, row by row."""
    return [row.values for row in read_rows(path, columns)]
