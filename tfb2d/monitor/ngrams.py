"""The n-grams that a student has seen: a Bloom filter of the 64-bit hashes that its own graph makes.

It keeps no text and has a fixed size; a lookup reads four bits. It never calls a known n-gram new. How often it takes a
new n-gram for known follows from how full it is (Bloom 1970), and rates are corrected by that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfb2d.students import text_spec

Int64 = NDArray[np.int64]

PROBES = 4
SPREAD = 16  # bits for each n-gram: 1 new n-gram in 400 is then taken for known
SMALLEST, LARGEST = 2**20, 2**33  # bits: 128 KiB up to 1 GiB
_TEXTS = 1024  # hashed at once
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)  # in each byte


@dataclass(frozen=True)
class Grams:
    """Holds the n-grams of some texts."""

    hashes: NDArray[np.uint64]  # `[n]`
    rows: Int64  # `[n]`, each n-gram's text
    positions: Int64  # `[n]`, the index of its first token in the text


@dataclass(frozen=True)
class Hasher:
    """Makes n-grams of texts with the student's graph; `max_tokens` tokens are kept of a text."""

    orders: tuple[int, ...]
    max_tokens: int

    def __call__(self, texts: Sequence[bytes | str]) -> dict[int, Grams]:
        """Returns the n-grams of texts, by order; those of order 1 are the tokens."""
        return self.of_tokens(*self._tokens(texts))

    def of_tokens(self, values: Int64, splits: Int64) -> dict[int, Grams]:
        """Returns the same of texts given as token hashes `[tokens]` and splits `[texts + 1]`."""
        lengths = np.diff(splits)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        positions = np.arange(len(values)) - np.repeat(splits[:-1], lengths)
        left = np.repeat(lengths, lengths) - positions  # tokens from here to the end
        keys = text_spec.ngram_keys(values, self.orders, splits)
        grams = {}
        for column, order in enumerate(self.orders):
            inside = left >= order
            mixed = (keys[:, column] * text_spec.MIX).view(np.uint64)
            grams[order] = Grams(mixed[inside], rows[inside], positions[inside])
        return grams

    def _tokens(self, texts: Sequence[bytes | str]) -> tuple[Int64, Int64]:
        import tensorflow as tf

        values, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start in range(0, len(texts), _TEXTS):
            ragged = _graph(self.max_tokens)(tf.constant(list(texts[start : start + _TEXTS]), tf.string))
            values.append(ragged.values.numpy())
            lengths.append(np.diff(ragged.row_splits.numpy()).astype(np.int64))
        return np.concatenate(values), np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])


@cache
def _graph(max_tokens: int) -> Any:
    import tensorflow as tf

    from tfb2d.students import text

    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda texts: text.token_hashes(texts, max_tokens), input_signature=signature)


class Bloom:
    """Holds a set of 64-bit hashes in a fixed number of bits: uint8, a power of two in length; zeros for an empty set."""

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        if len(bits) < SMALLEST // 8 or len(bits) & (len(bits) - 1):
            raise ValueError(f"a filter of {len(bits)} bytes; it takes a power of two, {SMALLEST // 8} or more")
        self.bits = bits

    @classmethod
    def for_count(cls, count: int) -> "Bloom":
        """Returns an empty set with room for `count` hashes."""
        room = min(max(SPREAD * count, SMALLEST), LARGEST)
        return cls(np.zeros(2 ** (int(room) - 1).bit_length() // 8, np.uint8))

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Adds hashes."""
        unique = np.unique(hashes)
        for byte, bit in self._probes(unique):
            np.bitwise_or.at(self.bits, byte, bit)

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Returns whether each hash is in the set, `[n]`; never False for a hash that was added."""
        known = np.ones(len(hashes), np.bool_)
        for byte, bit in self._probes(hashes):
            known &= (self.bits[byte] & bit) != 0
        return known

    @property
    def false_positives(self) -> float:
        """Returns the share of hashes outside the set that `has` takes for known."""
        return float((int(_ONES[self.bits].sum()) / (8 * len(self.bits))) ** PROBES)

    def _probes(self, hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint8]]]:
        # Two halves give any number of hashes (Kirsch and Mitzenmacher 2008). The halves are mixed first, since the lower
        # bits of a product depend on the lower bits of its factors alone.
        mixed = hashes ^ (hashes >> np.uint64(32))
        mixed = mixed * np.uint64(0x9FB21C651E98DF25)
        mixed ^= mixed >> np.uint64(29)
        step = (mixed >> np.uint64(32)) | np.uint64(1)
        last = np.uint64(8 * len(self.bits) - 1)
        for probe in range(PROBES):
            bit = (mixed + np.uint64(probe) * step) & last
            yield bit >> np.uint64(3), np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8)
