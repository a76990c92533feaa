"""Formats of files with rows. The name's ending says which, in upper or lower case."""

from pathlib import Path

from tfb2d.errors import DataError

TEXT_ENDINGS = (".tsv", ".csv", ".jsonl")
ENDINGS = (*TEXT_ENDINGS, *(end + zipped for end in TEXT_ENDINGS for zipped in (".gz", ".zst")), ".parquet")


def has_known_ending(name: str) -> bool:
    """Says whether a file of this name can be read."""
    return name.lower().endswith(ENDINGS)


def format_of(path: Path) -> str:
    """Returns the ending without a compression: ".tsv", ".csv", ".jsonl" or ".parquet".

    Raises:
      DataError: the name has another ending.
    """
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return "." + ending.split(".")[1]
    raise DataError(f"{path}: unknown kind of file; its name must end in one of {', '.join(ENDINGS)}")


def codec_of(path: Path) -> str | None:
    """Returns Arrow's name of the compression that the ending says, or None."""
    return {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
