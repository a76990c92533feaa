"""Logits that a teacher has written before, looked up by the texts: a log that has grown costs its new rows alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfb2d.data.keys import text_hashes
from tfb2d.data.tables import iter_part, logit_names
from tfb2d.teachers import shards


class KnownLogits:
    """Looks logits up. Memory: 8 bytes a row for its hash, and 4 a logit.

    Args:
      folders: of shards as `label_folder` writes them; those that are not there, or of another teacher, say nothing.
      made_by: what stands for the teacher and its fields, see `shards.MADE_BY`.
      fields: the text columns.
      n_logits: logits a row, k.
    """

    def __init__(self, folders: Sequence[Path], made_by: str, fields: Sequence[str], n_logits: int) -> None:
        names = logit_names(n_logits)
        hashes, logits = [np.empty(0, np.uint64)], [np.empty((0, n_logits), np.float32)]
        for part in [part for folder in folders for part in sorted(folder.glob("part-*.parquet"))]:
            if shards.made_by(part) != made_by:
                continue
            for batch in iter_part(part, [*fields, *names]):
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
        hashes = text_hashes(zip(*columns, strict=True))
        if not len(self.hashes):
            return np.zeros(len(hashes), bool), np.empty((len(hashes), self.logits.shape[1]), np.float32)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return self.hashes[at] == hashes, self.logits[at]
