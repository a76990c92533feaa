"""Looks up by their texts the logits that a teacher wrote before. Of a log that has grown, only new rows are scored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfb2d.data.keys import look_up, text_hashes
from tfb2d.data.tables import iter_part, logit_names
from tfb2d.teachers import shards


class KnownLogits:
    """Holds earlier logits in memory: 8 bytes a row for its hash, and 4 a logit.

    Args:
      folders: shards as `label_folder` writes them. A missing folder and another teacher's shards are passed over.
      made_by: digest of the teacher and its fields, see `shards.MADE_BY`.
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

    def look_up(self, columns: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Looks rows up.

        Args:
          columns: n texts per field.

        Returns:
          Which rows are known, bool [n], and their logits, float32 [n, k], whose other rows mean nothing.
        """
        hashes = text_hashes(zip(*columns, strict=True))
        indices, known = look_up(hashes, self.hashes)
        logits = np.empty((len(hashes), self.logits.shape[1]), np.float32)
        logits[known] = self.logits[indices[known]]
        return known, logits
