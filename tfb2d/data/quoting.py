"""Decides whether a tab-separated file is quoted as CSV (as pandas, Spark, R and Excel write it) or holds plain text.

Both are called TSV. A file without quotes reads the same either way. So the question arises at the first field that begins
with a quote, and the mebibyte of lines from there on answers it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tfb2d.data.lines import Line, LineFeed, decode
from tfb2d.data.quoted import NEVER_CLOSED, read_records
from tfb2d.errors import DataError

SAMPLE = 2**20  # bytes of lines
ALL_QUOTED = 10  # rows; when this many are quoted as by a writer that quotes all texts, that is no chance
CLEAR = 10  # factor by which the records for an answer must outnumber those against it
# A whole field in quotes, with doubled quotes inside; and with quotes after backslashes inside.
_DOUBLED = re.compile(r'(?:^|\t)"(?:[^"]|"")*""(?:[^"]|"")*"(?:\t|$)')
_BACKSLASHED = re.compile(r'(?:^|\t)"(?:[^"\\\t]|\\.)*\\"(?:[^"\\\t]|\\.)*"(?:\t|$)')

_NUMBER = re.compile(r"[-+]?[\d.]*(?:[eE][-+]?\d+)?")


def begins_with_quote(content: bytes) -> bool:
    """Says whether a field of a line begins with a quote."""
    return content.startswith(b'"') or b'\t"' in content


def has_quoted_names(header: str) -> bool:
    """Says whether a header has a name in quotes."""
    return any(len(name) > 1 and name[0] == name[-1] == '"' for name in header.split("\t"))


def conflict(path: Path, number: int) -> DataError:
    """Returns the error of a file that is neither clearly quoted nor clearly plain."""
    return DataError(
        f"{path}: from line {number} on, some fields are quoted as in CSV and others only begin with a quote. Say how the "
        "file was written: data.quoting=csv or data.quoting=none (of commands: --quoting=)"
    )


def is_quoted(path: Path, sample: Sequence[Line], whole: bool, width: int) -> tuple[bool, bool]:
    """Decides how to read a file from the lines that start at its first field that begins with a quote.

    Fields in quotes that hold tabs, doubled quotes or line breaks speak for CSV's quoting. So do the file's first rows, ten
    or more, if all their fields are in quotes or numbers. Against it speak lines that are rows as plain text but no CSV,
    and fields with quotes inside that are not in quotes themselves.

    Args:
      path: for messages.
      sample: the lines; `whole` says whether they reach to the file's end.
      width: fields of a row.

    Returns:
      Whether the file is quoted, and whether that is certain. Fields in quotes that need none say nothing.

    Raises:
      DataError: the records speak neither clearly for quoting nor clearly against it.
    """
    quoted = plain = long = backslashed = rows = all_quoted = 0
    half = sample[len(sample) // 2].number
    for record in read_records(LineFeed(sample), "\t", width):
        first = record.lines[0]
        content = first.content.removesuffix(b"\r")
        rows += 1
        all_quoted += not record.reason and (len(record.lines) > 1 or _quotes_all(content))
        is_plain_row = content.count(b"\t") == width - 1
        if record.reason and _BACKSLASHED.search(decode(content)):
            backslashed += 1
        elif record.reason:
            at_end = record.reason == NEVER_CLOSED and not whole and first.number >= half
            plain += begins_with_quote(content) and is_plain_row and not at_end
        elif len(record.lines) > 1:
            long += 1
        elif len(record.fields) == width and b'"' in content:
            if "\t".join(record.fields) == decode(content):  # a writer that quotes would have quoted this
                plain += 1
            else:
                quoted += not is_plain_row or bool(_DOUBLED.search(decode(content))) or content == b'""'
    if backslashed * CLEAR > plain:
        raise DataError(
            f"{path}: from line {sample[0].number} on, fields are quoted, with quotes within behind backslashes, as Spark "
            "and R write them: set data.quoting=backslash (of commands: --quoting=), or none to read all as plain text"
        )
    if width > 1 or not plain:  # in a single column two plain lines may begin and end with a quote
        quoted += long
    if not plain and sample[0].number == 2 and all_quoted == rows >= ALL_QUOTED:
        quoted += 1
    if min(quoted, plain) * CLEAR > max(quoted, plain):
        raise conflict(path, sample[0].number)
    return quoted > plain, bool(quoted or plain)


def _quotes_all(content: bytes) -> bool:
    """Says whether the fields of a line are in quotes, except numbers and missing ones, and one is."""
    fields = decode(content).split("\t")
    return b'"' in content and all((len(f) > 1 and f[0] == f[-1] == '"') or _NUMBER.fullmatch(f) for f in fields)
