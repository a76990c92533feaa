"""Decides which rows are held out, and keeps them out of the other splits."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from tfb2d.config import DataConfig
from tfb2d.data.keys import both_keys, cut_key, hash64, text_key

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
    """Holds the keys of the valid and test splits in memory, and says how another row would leak them."""

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

        Returns:
          "leaked": the same `text_key` as a test text; "leaked_valid": as a valid text; "group_leaked": a group of theirs;
          "near_leaked": the words of such a text, reordered or repeated.
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
