"""The hash spec (docs/hash_spec.md) in plain Python and NumPy: text -> tokens -> token hashes -> n-gram ids.

`tfb2d/students/text.py` is the same in TensorFlow; for every string the two agree. This module needs no TensorFlow, so a
runner on a small device uses it as it is.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.students.fingerprint import fingerprint64

__all__ = [
    "CHAIN",
    "END",
    "MIX",
    "SPEC",
    "TOKEN_MODULUS",
    "check_orders",
    "fingerprint64",
    "fold_table",
    "isolate_pattern",
    "ngram_ids",
    "token_hashes",
    "tokens",
]

END = -1  # stands behind a text's last token; a token's hash is never negative
CHAIN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as an int64: the golden ratio, as in SplitMix64
MIX = -0x2917014799A6026D  # 0xD6E8FEB86659FD93 as an int64 (https://mostlymangling.blogspot.com, 2018)
TOKEN_MODULUS = 2**63 - 1
MAX_BUCKETS = 2**31 - 1
# What an exported model carries of the spec. Numbers past 2^53 are strings, for readers whose JSON numbers are doubles.
SPEC: dict[str, Any] = {
    **json.loads(Path(__file__).with_name("hash_spec_1.json").read_text(encoding="ascii")),
    "plain": r"[\t-\r -~]*",  # a text of these bytes needs no folding
    "number": r"[0-9]+(?:[.,][0-9]+)+",  # one token, so that 3.5 is not three
    "token_modulus": str(TOKEN_MODULUS),
    "end": END,
    "chain": str(CHAIN),
    "mix": str(MIX),
}
_PLAIN = re.compile(SPEC["plain"].encode())


@cache
def fold_table() -> dict[int, int]:
    """Code points that are replaced, and by what: 0 deletes, 32 parts tokens."""
    table = {}
    for first, to, *steps in SPEC["fold"]:
        count, step, to_step = steps or (1, 1, 1)
        table.update((first + i * step, to + i * to_step) for i in range(count))
    return table


def isolate_pattern() -> str:
    """The regular expression, for RE2 and for Python, of what becomes a token of its own."""
    ranges = "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in SPEC["isolated"])
    return f"{SPEC['number']}|[{ranges}]"


def _escaped(code: int) -> str:
    character = chr(code)
    return f"\\{character}" if code < 128 else character


@cache
def _compiled() -> tuple[re.Pattern[str], dict[int, int | None]]:
    return re.compile(isolate_pattern()), {code: to or None for code, to in fold_table().items()}


def tokens(text: str | bytes, max_tokens: int) -> list[bytes]:
    """The first `max_tokens` tokens of a text, as UTF-8.

    Any bytes are taken: what is not UTF-8 is read as U+FFFD, one for each maximal part of a character (the Unicode
    Standard's recommendation). Lone surrogates in a str count as the bytes that they would be.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    isolate, fold = _compiled()
    if _PLAIN.fullmatch(data):
        folded = data.lower().decode("ascii")
    else:
        folded = data.decode("utf-8", "replace").translate(fold)
    return isolate.sub(r" \g<0> ", folded).encode("utf-8").split(None, max_tokens)[:max_tokens]


def token_hashes(text: str | bytes, max_tokens: int) -> np.ndarray:
    """Hashes of a text's first `max_tokens` tokens: `[tokens]` int64, from 0 up to 2^63 - 2."""
    return np.array([fingerprint64(token) % TOKEN_MODULUS for token in tokens(text, max_tokens)], np.int64)


def check_orders(orders: Sequence[int], buckets: int) -> None:
    """Raises ValueError unless `orders` are distinct counts of tokens and ids below `buckets` fit an int32."""
    if not orders or min(orders) < 1 or len(set(orders)) != len(orders):
        raise ValueError(f"orders {tuple(orders)}: distinct counts of tokens, each 1 or more")
    if not 1 <= buckets <= MAX_BUCKETS:
        raise ValueError(f"{buckets} buckets; ids are int32, so 1 up to {MAX_BUCKETS}")


def ngram_ids(hashes: np.ndarray, orders: Sequence[int], buckets: int) -> np.ndarray:
    """Ids of the n-grams that begin at each token of one text.

    Args:
      hashes: `[tokens]` int64, of `token_hashes`.
      orders: how many tokens the n-grams span, for example (1, 2).
      buckets: ids are below it.

    Returns:
      `[tokens, len(orders)]` int32. An n-gram that runs past the last token ends with a mark instead.
    """
    check_orders(orders, buckets)
    chained = hashes
    chains = {1: chained}
    for order in range(2, max(orders) + 1):
        chained = hashes + np.append(chained[1:], END) * np.int64(CHAIN) if len(hashes) else hashes
        chains[order] = chained
    mixed = np.stack([chains[order] for order in orders], 1)
    mixed = (mixed ^ mixed >> 32) * np.int64(MIX)
    return (((mixed >> 32) + 2**31) * buckets >> 32).astype(np.int32)
