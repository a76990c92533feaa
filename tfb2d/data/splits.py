"""Decides which rows belong to which split, keeps held-out rows out of the others, and checks the finished splits.

A treebank's phrases (SST-2's training rows) come without a reference to their sentence. A phrase that no other contains is
a root, and stands for a sentence. Of SST-2's 66,978 distinct phrases 6,885 are roots; it has 6,920 training sentences.
Where a sentence itself is missing, its longest phrases are roots.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfb2d.config import DataConfig
from tfb2d.data import tables
from tfb2d.data.keys import both_keys, cut_key, hash64, text_key
from tfb2d.errors import DataError

SPLITS = ("train", "valid", "test")
NAMED_LABELS = 100
TORN = "torn"  # a phrase of sentences that belong to different splits

Texts = tuple[tuple[str, ...], str]  # a row's text fields and its group, "" without one


def text_rows(batch: pa.RecordBatch, fields: Sequence[str]) -> list[Texts]:
    """Returns a batch's texts and groups, row by row."""
    texts = zip(*(batch.column(field).to_pylist() for field in fields), strict=True)
    groups = batch.column("group").to_pylist() if "group" in batch.schema.names else [""] * batch.num_rows
    return list(zip(texts, groups, strict=True))


class Cutter:
    """Assigns the rows of the training files to splits by a stable hash, where valid and test are not given as files.

    A row's split depends on `data.split_seed` and the `cut_key` of its group alone, or of its text if it has no group. So
    the other rows and their order do not matter, and a group is never torn.
    """

    def __init__(self, data: DataConfig) -> None:
        self.seed = data.split_seed
        self.test = 0.0 if data.test else data.test_fraction
        self.valid = 0.0 if data.valid else data.valid_fraction

    def split(self, fields: Sequence[str], group: str = "") -> str:
        """Returns "train", "valid" or "test"."""
        key = cut_key(group) if group else cut_key(*fields)
        share = hash64(f"{self.seed}\0{key}") / 2**64
        return "test" if share < self.test else "valid" if share < self.test + self.valid else "train"


class HeldOut:
    """Holds the keys of the valid and test splits, in memory; says how another row would leak them."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._near: set[str] = set()
        self._groups: set[str] = set()

    def add(self, split: str, rows: Iterable[Texts]) -> None:
        """Adds rows of "test" or "valid"."""
        for fields, group in rows:
            key, near = both_keys(fields)
            self._texts.setdefault(key, split)
            self._near.add(near)
            if group:
                self._groups.add(text_key(group))

    def leak(self, fields: Sequence[str], group: str = "") -> str:
        """Says how a row would leak what is held out; "" if it would not.

        Returns "leaked": the same `text_key` as a test text; "leaked_valid": as a valid text; "group_leaked": a group
        of theirs; "near_leaked": the words of such a text, reordered or repeated.
        """
        return self.leak_of(*both_keys(fields), group)

    def leak_of(self, key: str, near: str, group: str = "") -> str:
        """Says the same of a row whose `both_keys` are known."""
        if split := self._texts.get(key):
            return "leaked" if split == "test" else "leaked_valid"
        if group and text_key(group) in self._groups:
            return "group_leaked"
        return "near_leaked" if near in self._near else ""

    def keep(self, batch: pa.RecordBatch, fields: Sequence[str], counts: Counter[str]) -> pa.RecordBatch:
        """Returns the rows of a batch that leak nothing; the others are counted by reason."""
        reasons = [self.leak(*row) for row in text_rows(batch, fields)]
        counts.update(filter(None, reasons))
        return batch.filter(pa.array(np.array([not reason for reason in reasons], bool)))


def roots(texts: Iterable[str]) -> dict[str, list[str]]:
    """Returns the roots that contain each phrase or sentence, as whole words in order; a root contains itself alone.

    Case and spacing do not count: normalised texts have their normalised roots, the longest first.
    """
    containing: dict[str, list[str]] = {}
    by_word: dict[str, list[str]] = defaultdict(list)  # roots, longest first
    # A text's candidates are the roots with the rarest of its words.
    for text in sorted({_normalised(text) for text in texts}, key=lambda text: (-text.count(" "), text)):
        words = set(text.split(" "))
        rarest = min(words, key=lambda word: (len(by_word[word]), word))
        containing[text] = [root for root in by_word[rarest] if f" {text} " in f" {root} "] or [text]
        if containing[text] == [text]:
            for word in words:
                by_word[word].append(text)
    return containing


class PhraseCutter:
    """Assigns phrases, of which it needs all `texts`, to splits: all phrases of a sentence to the same one."""

    def __init__(self, data: DataConfig, texts: Iterable[str]) -> None:
        self._roots: Mapping[str, Sequence[str]] = roots(texts)
        self._cutter = Cutter(data)

    def split(self, fields: Sequence[str], group: str = "") -> str:
        """Returns "train", "valid" or "test"; `TORN` for a phrase ("the film") that sentences of different splits share."""
        splits = {self._cutter.split((root,)) for root in self._roots[_normalised(fields[0])]}
        return splits.pop() if len(splits) == 1 else TORN


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())


def check_split(data: DataConfig, work: Path, name: str, labels: Counter[float], left_out: Counter[str]) -> None:
    """Stops where a split is empty, or train or test has a single class.

    Raises DataError with the number of rows left out by reason, or with what to change.
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
    settings = [f"{cut}_fraction" for cut in ("valid", "test") if not getattr(data, cut)]
    if not any(getattr(data, setting) for setting in settings):
        return ""
    batches = (batch for split in SPLITS for batch in tables.iter_batches(work / split))
    rows = (row for batch in batches for row in text_rows(batch, data.fields))
    groups = {cut_key(group) if group else cut_key(*fields) for fields, group in rows}
    unit = f"groups (values of {data.group_column!r})" if data.group_column else "different texts"
    cuts = " and ".join(f"data.{setting}={getattr(data, setting):g}" for setting in settings)
    advice = "lower the fractions" if name == "train" else f"raise data.{name}_fraction or name files in data.{name}"
    return (
        f". {cuts} of {len(groups):,} {unit} were cut by chance, and the {name} split got none: give more of them, "
        f"{advice}, or try another data.split_seed"
    )


def count_by_name(labels: Counter[float], classes: Sequence[str]) -> dict[str, int]:
    """Returns counts by the label's name, in order: at most NAMED_LABELS labels, the most frequent ones."""
    frequent = sorted(labels.most_common(NAMED_LABELS))
    return {classes[int(label)] if classes else f"{label:g}": count for label, count in frequent}
