"""Turns texts into token ids, and token ids into batches with little padding.

Texts are tokenized once, by the model's own tokenizer, and kept without padding. A batch is padded to the shortest of
`BUCKETS` that holds its longest row. Most texts are far shorter than the longest that a teacher takes. Few lengths mean few
graphs to trace or compile.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfb2d.data.augment import MASK
from tfb2d.teachers.tokens import token_function

# Steps of an eighth to a quarter of the length: padding to a bucket adds little to a row.
BUCKETS = (*range(4, 32, 4), *range(32, 64, 8), *range(64, 128, 16), *range(128, 256, 32), *range(256, 513, 64))
if keras.backend.backend() == "jax":  # each length is compiled, which takes many seconds
    BUCKETS = tuple(size for size in BUCKETS if size % 16 == 0)
CHUNK = 8192  # texts tokenized at once
POOL = 50  # batches' worth of shuffled rows that are sorted by length together


def bucket(length: int, longest: int) -> int:
    """Returns the length that a batch is padded to whose longest row has `length` tokens, at most `longest`."""
    if length > BUCKETS[-1]:
        return min(-(-length // 64) * 64, longest)
    return min(next(b for b in BUCKETS if b >= length), longest)


@dataclass(frozen=True)
class Packed:
    """Rows of token ids without padding."""

    ids: np.ndarray  # int32 [tokens], the rows one after another, special tokens included
    starts: np.ndarray  # int64 [rows + 1], where each row starts in `ids`, and where the last ends
    second: np.ndarray  # int64 [rows], where the second field starts within its row; the row's length if there is none

    def __len__(self) -> int:
        return len(self.second)

    @property
    def lengths(self) -> np.ndarray:
        """Returns the tokens of each row, int64 [rows]."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray) -> "Packed":
        """Returns the rows with these indices, in their order."""
        lengths = self.lengths[rows]
        return Packed(self.ids[_ranges(self.starts[rows], lengths)], _starts(lengths), self.second[rows])


class Packer:
    """Turns text columns into a model's inputs, as the model's own KerasHub `preprocessor` would.

    `inputs` are `token_ids` and perhaps `padding_mask`, `segment_ids`. `max_length` are the tokens of the longest row,
    special ones included. `reference` says whether texts are cut as in pre-training; see `token_function`.
    """

    def __init__(self, preprocessor: Any, inputs: Sequence[str], max_length: int, reference: bool = True) -> None:
        if preprocessor.packer is None:
            preprocessor.build(None)
        packer = preprocessor.packer
        self.tokenizer = preprocessor.tokenizer
        self.inputs = tuple(inputs)
        self.max_length = max_length
        # A model without a padding mask (FNet) mixes padding into every token: it always gets its full length.
        self.shortest = 1 if "padding_mask" in self.inputs else max_length
        self.start, self.separator, self.end = packer.start_value, packer.sep_value, packer.end_value
        self.pad_id = self.tokenizer.pad_token_id or 0
        mask_id = getattr(self.tokenizer, "mask_token_id", None)
        self.mask_token: str = "" if mask_id is None else self.tokenizer.id_to_token(mask_id)
        self._tokens = token_function(self.tokenizer, reference)

    def pack(self, columns: Sequence[Sequence[str]]) -> Packed:
        """Tokenizes one or two columns of equal length and joins them row by row: start, first[, separator, second], end.

        Of a row that is too long each field gets half of the length, or more if the other needs less. So a short query is
        kept whole.
        """
        ids, lengths = zip(*(self.tokenize(column) for column in columns), strict=True)
        separators = self.separator if len(columns) == 2 else []
        room = self.max_length - len(self.start) - len(separators) - len(self.end)
        first = lengths[0]
        second = lengths[1] if len(columns) == 2 else np.zeros_like(first)
        keep_first = np.minimum(first, np.maximum(room - second, (room + 1) // 2))
        keep_second = np.minimum(second, room - keep_first)

        starts = _starts(keep_first + keep_second + (self.max_length - room))
        after_first = starts[:-1] + len(self.start) + keep_first
        packed = np.empty(starts[-1], np.int32)
        _write(packed, starts[:-1], self.start)
        packed[_ranges(starts[:-1] + len(self.start), keep_first)] = ids[0][_ranges(_starts(first)[:-1], keep_first)]
        _write(packed, after_first, separators)
        if len(columns) == 2:
            at = after_first + len(separators)
            packed[_ranges(at, keep_second)] = ids[1][_ranges(_starts(second)[:-1], keep_second)]
        _write(packed, starts[1:] - len(self.end), self.end)
        begins = after_first - starts[:-1] + len(separators) if separators else np.diff(starts)
        return Packed(packed, starts, begins)

    def tokenize(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokenizes texts without special tokens, except the mask token where a text has it or `MASK`.

        Returns all ids in order, int32 [tokens], and each row's number of tokens, int64 [rows].
        """
        if self.mask_token not in ("", MASK):
            texts = [text.replace(MASK, self.mask_token) for text in texts]
        parts = [text.split(self.mask_token) if self.mask_token else [text] for text in texts]
        counts = np.fromiter(map(len, parts), np.int64, len(parts))
        # A space before the mask belongs to it: byte-pair tokenizers would make a token of it.
        flat = [part.rstrip() if i + 1 < len(row) else part for row in parts for i, part in enumerate(row)]
        ids, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for at in range(0, len(flat), CHUNK):
            tokens = self._tokens(flat[at : at + CHUNK])
            if isinstance(tokens, tf.RaggedTensor):
                ids.append(tokens.values.numpy().astype(np.int32))
                lengths.append(tokens.row_lengths().numpy())
            else:
                ids.append(np.fromiter(itertools.chain.from_iterable(tokens), np.int32))
                lengths.append(np.fromiter(map(len, tokens), np.int64))
        values, sizes = np.concatenate(ids), np.concatenate(lengths)
        if len(flat) == len(texts):
            return values, sizes
        ends = np.cumsum(counts)
        masks = np.ones(len(flat), np.int64)
        masks[ends - 1] = 0  # a mask follows each part but a text's last
        starts = _starts(sizes + masks)
        joined = np.full(starts[-1], self.tokenizer.mask_token_id, np.int32)
        joined[_ranges(starts[:-1], sizes)] = values
        return joined, np.add.reduceat(sizes + masks, ends - counts)

    def batches(self, packed: Packed, batch_tokens: int) -> Iterator[np.ndarray]:
        """Cuts rows into batches of at most `batch_tokens` tokens, padding included; see `batches_by_tokens`."""
        return batches_by_tokens(np.maximum(packed.lengths, self.shortest), batch_tokens, self.max_length)

    def pad(self, packed: Packed, rows: np.ndarray, length: int = 0) -> Mapping[str, np.ndarray]:
        """Returns the model's inputs for some rows, each int32 [rows, length]; length 0 takes the rows' bucket."""
        lengths = packed.lengths[rows]
        length = length or bucket(max(int(lengths.max()), self.shortest), self.max_length)
        at = np.arange(length)
        mask = at < lengths[:, None]
        tokens = np.full(mask.shape, self.pad_id, np.int32)
        tokens[mask] = packed.ids[_ranges(packed.starts[rows], lengths)]
        segments = mask & (at >= packed.second[rows][:, None])
        values = {"token_ids": tokens, "padding_mask": mask, "segment_ids": segments}
        return {name: values[name].astype(np.int32) for name in self.inputs}


def batches_by_tokens(lengths: np.ndarray, batch_tokens: int, longest: int) -> Iterator[np.ndarray]:
    """Cuts rows into batches of at most `batch_tokens` tokens, padding included, longest first.

    Yields the indices of a batch's rows, a power of two of them except in the last batch. They depend on the lengths alone.
    """
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        fitting = max(1, batch_tokens // bucket(int(lengths[order[at]]), longest))
        size = 1 << (fitting.bit_length() - 1)
        yield order[at : at + size]
        at += size


def shuffled_batches(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns the indices of each batch's rows of an epoch: in random order, with rows of similar length.

    Rows are shuffled, sorted by length within pools of `POOL` batches, and cut; then the batches are shuffled.
    """
    order = rng.permutation(len(lengths))
    batches = []
    for at in range(0, len(order), batch_size * POOL):
        pool = order[at : at + batch_size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Joins the ranges that start at `starts` and have `counts` numbers each."""
    return np.repeat(starts - _starts(counts)[:-1], counts) + np.arange(counts.sum())


def _write(ids: np.ndarray, at: np.ndarray, values: Sequence[int]) -> None:
    for i, value in enumerate(values):
        ids[at + i] = value
