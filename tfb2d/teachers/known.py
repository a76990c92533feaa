"""Logits that a teacher has written before, found by the texts: a log that has grown costs its new rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.data.files import read_json
from tfb2d.data.keys import text_hashes
from tfb2d.data.tables import iter_batches, logit_names
from tfb2d.teachers.shards import FILE

SAME = ("teacher", "fields")  # of what shards are made from: what a logit depends on but for its last bits


class KnownLogits:
    """Looks logits up. Memory: 8 bytes a row for its hash, and 4 a logit.

    Args:
      folder: shards as `label_folder` writes them; None, one without shards, or shards of another teacher or of other
        fields know nothing.
      made_from: what the new shards are made from.
      n_logits: logits a row, k.
    """

    def __init__(self, folder: Path | None, made_from: Mapping[str, Any], n_logits: int) -> None:
        self.hashes, self.logits = np.empty(0, np.uint64), np.empty((0, n_logits), np.float32)
        if folder is None or not (folder / FILE).exists() or not any(folder.glob("part-*.parquet")):
            return
        about = read_json(folder / FILE)
        if any(about[name] != made_from[name] for name in SAME):
            return
        fields, names = list(made_from["fields"]), logit_names(n_logits)
        hashes, logits = [], []
        for batch in iter_batches(folder, [*fields, *names]):
            hashes.append(text_hashes(zip(*(batch.column(name).to_pylist() for name in fields), strict=True)))
            logits.append(np.stack([batch.column(name).to_numpy() for name in names], 1))
        self.hashes, first = np.unique(np.concatenate(hashes), return_index=True)
        self.logits = np.concatenate(logits)[first]

    def of(self, columns: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """What is known of some rows.

        Args:
          columns: n texts per field.

        Returns:
          (bool [n], which rows are known; float32 [n, k], their logits, and anything where they are not).
        """
        wanted = text_hashes(zip(*columns, strict=True))
        if not len(self.hashes):
            return np.zeros(len(wanted), bool), np.empty((len(wanted), self.logits.shape[1]), np.float32)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return self.hashes[at] == wanted, self.logits[at]
