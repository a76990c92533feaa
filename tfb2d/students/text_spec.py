"""The hash spec (docs/hash_spec.md) in plain Python and NumPy: text -> tokens -> token hashes -> n-gram ids.

`tfb2d/students/text.py` is the same in TensorFlow; tests compare the two on random strings. This module needs no
TensorFlow, so that small devices can use it.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.students.fingerprint import fingerprint64

END = -1  # follows a text's last token; a token's hash is never negative
CHAIN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as an int64: the golden ratio, as in SplitMix64
MIX = -0x2917014799A6026D  # 0xD6E8FEB86659FD93 as an int64 (https://mostlymangling.blogspot.com, 2018)
TOKEN_MODULUS = 2**63 - 1
MAX_BUCKETS = 2**31 - 1
AFFIX_BITS = 21  # bits of a token's hash that hold its prefix; as many hold its suffix
AFFIX_MASKS = tuple((2**AFFIX_BITS - 1) << shift for shift in (AFFIX_BITS, 0))  # of the prefix, of the suffix
AFFIX_FACTORS = (MIX, CHAIN)
END_SLOT, UNKNOWN_SLOT = 0, 1  # the first slots of a vocabulary; its tokens have the slots after them
UNUSED = 2**63 - 1  # fills up a vocabulary; a hash with affixes equals it with a chance of 1 in 2^63, others never
MIN_COUNT = 3  # a rarer token is not in a vocabulary
# The part of the spec that an exported model carries. Numbers past 2^53 are strings, because many JSON readers use doubles.
SPEC: dict[str, Any] = {
    **json.loads(Path(__file__).with_name("hash_spec_2.json").read_text(encoding="ascii")),
    "number": r"[0-9]+(?:[.,][0-9]+)*",  # a token of its own: 3.5 is not three, and 55sk8500 and 55 sk8500 are the same
    "token_modulus": str(TOKEN_MODULUS),
    "end": END,
    "chain": str(CHAIN),
    "mix": str(MIX),
}


_NUMBER = re.compile(f"({SPEC['number']})")


@cache
def fold_table() -> dict[int, int]:
    """Returns the code points that are replaced, and by what: 0 deletes, 32 separates tokens."""
    table: dict[int, int] = {}
    for first, to, *steps in SPEC["fold"]:
        count, step, to_step = steps or (1, 1, 1)
        table.update((first + i * step, to + i * to_step) for i in range(count))
    return table


class _Fold(dict[int, int | None]):
    """Maps each code point to its folded character, for `str.translate`."""

    def __missing__(self, code: int) -> int | None:
        self[code] = fold_table().get(code, code) or None
        return self[code]


class _Isolate(dict[int, str]):
    """Puts spaces around each code point that is a token of its own, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        ranges = SPEC["isolated"]
        at = bisect_right(ranges, code, key=lambda first_last: first_last[0]) - 1
        alone = at >= 0 and code <= ranges[at][1]
        self[code] = f" {chr(code)} " if alone else chr(code)
        return self[code]


_FOLD, _ISOLATE = _Fold(), _Isolate()  # filled as characters are met


def tokens(text: str | bytes, max_tokens: int) -> list[bytes]:
    """Returns the first `max_tokens` tokens of a text, as UTF-8.

    Any bytes are taken: what is not UTF-8 is read as U+FFFD, one for each maximal part of a character (the Unicode
    Standard's recommendation). Lone surrogates in a str count as the bytes that they would be.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    parts = _NUMBER.split(data.decode("utf-8", "replace").translate(_FOLD))
    parts[::2] = [part.translate(_ISOLATE) for part in parts[::2]]  # between the numbers, which are the odd parts
    return " ".join(parts).encode("utf-8").split(None, max_tokens)[:max_tokens]


def token_hash(token: bytes, affixes: Sequence[int] = ()) -> int:
    """Returns the hash, an int64 of 0 or more, of a token as `tokens` gives it.

    `affixes` are () or (bytes of a prefix, bytes of a suffix), which then have bits of their own in the hash.
    """
    if not affixes:
        return fingerprint64(token) % TOKEN_MODULUS
    prefix, suffix = affixes
    combined = 0
    for part in (token, token[:prefix], (b" " * suffix + token)[-suffix:]):
        combined = combined << AFFIX_BITS | fingerprint64(part) % 2**AFFIX_BITS
    return combined


def token_hashes(text: str | bytes, max_tokens: int, affixes: Sequence[int] = ()) -> np.ndarray:
    """Hashes a text's first `max_tokens` tokens: `[tokens]` int64; see `token_hash`."""
    return np.array([token_hash(token, affixes) for token in tokens(text, max_tokens)], np.int64)


def check_orders(orders: Sequence[int], buckets: int) -> None:
    """Raises ValueError unless `orders` are distinct counts of tokens and ids below `buckets` fit an int32."""
    if not orders or min(orders) < 1 or len(set(orders)) != len(orders):
        raise ValueError(f"orders {tuple(orders)}: distinct counts of tokens, each 1 or more")
    if not 1 <= buckets <= MAX_BUCKETS:
        raise ValueError(f"{buckets} buckets; ids are int32, so 1 up to {MAX_BUCKETS}")


def chain(order: int) -> int:
    """Returns the factor of all but the first token of an n-gram: an odd int64 that differs between orders."""
    return (CHAIN * (2 * order - 3) + 2**63) % 2**64 - 2**63


def ngram_keys(hashes: np.ndarray, orders: Sequence[int], row_splits: np.ndarray | None = None) -> np.ndarray:
    """Mixes the hashes of each n-gram's tokens to a key of 64 bits, which distinguishes n-grams that share a table row.

    `hashes` are `[tokens]` int64; `orders` say how many tokens the n-grams span, for example (1, 2). `row_splits`,
    `[texts + 1]`, are where each text's hashes begin, and the end; without them all are of one text.

    Returns `[tokens, len(orders)]` int64. An n-gram that runs past its text's last token ends with a mark instead.
    """
    chained = hashes
    chains = {1: chained}
    for order in range(2, max(orders) + 1):
        chained = hashes ^ _next(chained, END, row_splits) * chain(order)
        chains[order] = chained
    return np.stack([chains[order] for order in orders], 1)


def rows_of(keys: np.ndarray, buckets: int) -> np.ndarray:
    """Returns the table rows of n-gram keys: int32 of the same shape."""
    return _bucket(keys * MIX, buckets)


def ngram_ids(
    hashes: np.ndarray, orders: Sequence[int], buckets: int, row_splits: np.ndarray | None = None
) -> np.ndarray:
    """Returns the ids, `[tokens, len(orders)]` int32, of the n-grams at each token; arguments as of `ngram_keys`.

    Ids are below `buckets`, which is at most 2^31 - 1.
    """
    check_orders(orders, buckets)
    return rows_of(ngram_keys(hashes, orders, row_splits), buckets)


def slots(hashes: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    """Looks up each token's slot in a vocabulary: `[tokens]` int32, UNKNOWN_SLOT for those that it lacks.

    Hashes are `[tokens]` int64; the vocabulary, `[size]` int64, has token hashes, rising, UNUSED ones last.
    """
    position = np.minimum(np.searchsorted(vocabulary, hashes), len(vocabulary) - 1)
    return np.where(vocabulary[position] == hashes, position + UNKNOWN_SLOT + 1, UNKNOWN_SLOT).astype(np.int32)


def composed_ids(
    hashes: np.ndarray,
    window: int,
    buckets: int,
    affixes: Sequence[int] = (),
    vocabulary: np.ndarray | None = None,
    row_splits: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the table rows that each composed n-gram is the sum of: of the token at each offset from a token.

    Where there is a `vocabulary` (see `slots`), its slots have the first rows, one for each offset, and affixes the
    rest. Without one tokens and affixes are hashed into all rows. Other arguments are those of `ngram_ids`.

    Returns `[tokens, window + len(affixes)]` int32. Column k belongs to the token k positions on, or to the mark after its
    text's last token; the last two columns belong to the token's own prefix and suffix.
    """
    check_orders(range(1, window + 1), buckets)
    if vocabulary is None:
        first, ahead = 0, _ahead(hashes, window, END, row_splits)
        ids = _bucket(ahead * np.array(offset_factors(window), np.int64), buckets)
    else:
        first, ahead = first_hashed(vocabulary, window), _ahead(slots(hashes, vocabulary), window, END_SLOT, row_splits)
        ids = ahead * np.int32(window) + np.arange(window, dtype=np.int32)
    if not affixes:
        return ids
    parts = hashes[:, None] & np.array(AFFIX_MASKS, np.int64)
    of_affixes = _bucket(parts * np.array(AFFIX_FACTORS, np.int64), buckets - first) + np.int32(first)
    return np.concatenate([ids, of_affixes], 1)


def first_hashed(vocabulary: Any, window: int) -> int:
    """Returns the first table row after those of a vocabulary's slots."""
    return (int(vocabulary.shape[0]) + UNKNOWN_SLOT + 1) * window


def offset_factors(window: int) -> list[int]:
    """Returns the factors of a token's hash at each offset, as int64s; at offset 0 the id is the unigram's."""
    return [(MIX * (chain(offset + 1) if offset else 1) + 2**63) % 2**64 - 2**63 for offset in range(window)]


def _ahead(values: np.ndarray, window: int, end: int, row_splits: np.ndarray | None) -> np.ndarray:
    """Puts the values of each token and of the `window - 1` tokens after it side by side: `[tokens, window]`."""
    columns = [values]
    for _ in range(1, window):
        columns.append(_next(columns[-1], end, row_splits))
    return np.stack(columns, 1)


def _bucket(products: np.ndarray, buckets: int) -> np.ndarray:
    """Takes the upper half of 64-bit products modulo `buckets`, int32."""
    return (products >> 32).astype(np.int32) % np.int32(buckets)


def _next(values: np.ndarray, end: int, row_splits: np.ndarray | None) -> np.ndarray:
    """Returns the value of the token after each token; `end` after a text's last one."""
    last = slice(-1, None) if row_splits is None else row_splits[1:][np.diff(row_splits) > 0] - 1
    following = np.empty_like(values)
    following[:-1] = values[1:]
    following[last] = end
    return following
