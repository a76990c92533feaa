"""Texts that are cut into ids once, and kept without padding: `Inputs` in, batches for a tower out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tfb2d.teachers.packing import BUCKETS, batches_by_tokens, bucket
from tfb2d.twin.inputs import Inputs, NGramInputs, TriLetterInputs

CHUNK = 8192  # texts cut at once


@dataclass(frozen=True)
class PackedTexts:
    """Holds the ids of n texts."""

    kind: str  # of the inputs: "wordpiece", "triletters" or "ngrams"
    ids: np.ndarray  # int32 `[tokens]`, `[tokens, letters]` or `[tokens, orders]`, text after text
    starts: np.ndarray  # int64 `[n + 1]`, where each text starts in `ids`, and where the last ends
    padding: int = 0  # the id that fills texts up

    @classmethod
    def of(cls, inputs: Inputs, texts: Sequence[str]) -> "PackedTexts":
        """Cuts texts with the very ops that serving uses."""
        kind, cut = inputs.kind, _traced(inputs)
        width: tuple[int, ...] = ()  # ids of a token
        if isinstance(inputs, TriLetterInputs | NGramInputs):
            width = (inputs.max_letters if isinstance(inputs, TriLetterInputs) else len(inputs.orders),)
        ids, lengths = [np.empty((0, *width), np.int32)], [np.empty(0, np.int64)]
        for at in range(0, len(texts), CHUNK):
            # As bytes: TensorFlow refuses lone surrogates, which files may hold.
            chunk = [text.encode("utf-8", "surrogatepass") for text in texts[at : at + CHUNK]]
            values = {name: value.numpy() for name, value in cut(tf.constant(chunk, tf.string)).items()}
            counts = _lengths(kind, values)
            padded = values["token_ids" if kind == "wordpiece" else "ids"]
            rows = padded[np.arange(padded.shape[1]) < counts[:, None]]
            if width:  # tri-letters: as many as the chunk's longest word has
                rows = np.pad(rows, ((0, 0), (0, width[0] - rows.shape[1])))
            ids.append(rows)
            lengths.append(counts)
        starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return cls(kind, np.concatenate(ids), starts, getattr(inputs, "padding_id", 0))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Returns the tokens of each text, int64 `[n]`."""
        return np.diff(self.starts)

    def batches(self, batch_tokens: int) -> Iterator[np.ndarray]:
        """Yields the indices of batches of at most `batch_tokens` tokens, padding included, longest texts first."""
        lengths = np.maximum(self.lengths, 1)
        yield from batches_by_tokens(lengths, batch_tokens, max(int(lengths.max(initial=1)), BUCKETS[0]))

    def batch(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Returns a tower's inputs for some texts, as `Inputs` gives them, padded to a length of few."""
        lengths = self.lengths[rows]
        length = bucket(max(int(lengths.max(initial=0)), 1), 1 << 30)
        real = np.arange(length) < lengths[:, None]
        padded = np.full((*real.shape, *self.ids.shape[1:]), self.padding, np.int32)
        at = np.repeat(self.starts[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        padded[real] = self.ids[at + np.arange(lengths.sum())]
        values: dict[str, Any] = {"ids": padded}
        if self.kind == "wordpiece":
            values = {"token_ids": padded, "padding_mask": real.astype(np.int32)}
        elif self.kind == "ngrams":
            values["lengths"] = lengths.astype(np.int32)
        return {name: tf.constant(value) for name, value in values.items()}


@lru_cache(maxsize=8)
def _traced(inputs: Inputs) -> Any:
    return tf.function(inputs.__call__, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


def _lengths(kind: str, values: dict[str, np.ndarray]) -> np.ndarray:
    if kind == "wordpiece":
        counts = values["padding_mask"].sum(1)
    else:
        counts = values["lengths"] if kind == "ngrams" else (values["ids"][:, :, 0] > 0).sum(1)
    return counts.astype(np.int64)
