"""Checks the finished splits. A split that is empty or of a single class stops the run; the message says what to do."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tfb2d.config import DataConfig
from tfb2d.data import tables
from tfb2d.data.keys import cut_key
from tfb2d.data.splits import text_rows
from tfb2d.errors import DataError

SPLITS = ("train", "valid", "test")
NAMED_LABELS = 100


def check_split(data: DataConfig, work: Path, name: str, labels: Counter[float], left_out: Counter[str]) -> None:
    """Stops where a split is empty, or train or test has a single class.

    Raises:
      DataError: with the number of rows left out by reason, or with what to change.
    """
    files: tuple[str, ...] = getattr(data, name)
    source = ", ".join(files or data.train)
    if not labels and (name == "train" or files or getattr(data, f"{name}_fraction")):
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()) if count)
        message = f"{source}: no rows for the {name} split" + (f"; left out: {counts}" if counts else "")
        raise DataError(message + ("" if counts or (files and name != "train") else _how_to_fill(data, work, name)))
    if name != "valid" and len(labels) == 1:
        (label,) = count_by_name(labels, data.classes)
        raise DataError(
            f"{source}: field {data.label!r} is {label} in all {labels.total():,} rows of the {name} split; a single "
            "class can be neither learnt nor measured"
        )


def _how_to_fill(data: DataConfig, work: Path, name: str) -> str:
    """Says from how many rows an empty split was cut, and what to do about it."""
    shares = {
        f"data.{cut}_fraction": getattr(data, f"{cut}_fraction") for cut in ("valid", "test") if not getattr(data, cut)
    }
    if not any(shares.values()):
        return ""
    rows = [
        row for split in SPLITS for batch in tables.iter_batches(work / split) for row in text_rows(batch, data.fields)
    ]
    groups = {cut_key(group) if group else cut_key(*fields) for fields, group in rows}
    unit = f"groups (values of {data.group_column!r})" if data.group_column else "different texts"
    cuts = " and ".join(f"{setting}={share:g}" for setting, share in shares.items())
    advice = "lower the fractions" if name == "train" else f"raise data.{name}_fraction or name files in data.{name}"
    return (
        f". {cuts} of {len(groups):,} {unit} were cut by chance, and the {name} split got none: give more of them, "
        f"{advice}, or try another data.split_seed"
    )


def count_by_name(labels: Counter[float], classes: Sequence[str]) -> dict[str, int]:
    """Returns counts by the label's name, in order: at most NAMED_LABELS labels, the most frequent ones."""
    frequent = sorted(labels.most_common(NAMED_LABELS))
    return {classes[int(label)] if classes else f"{label:g}": count for label, count in frequent}
