"""The hash spec (docs/hash_spec.md) as a TensorFlow graph: text -> token hashes -> n-gram ids.

It uses core TensorFlow ops only, and few of them: at batch 1 an op's start costs more than its work. For every string the
ids are those of `tfb2d/students/text_spec.py`, in every locale and with every ICU. `tf.strings.lower(encoding="utf-8")` is
not used: it lower-cases "I" by the server's LANG (dotless in Turkish), and ends a text at its first NUL.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import tensorflow as tf

from tfb2d.students import text_spec
from tfb2d.students.text_spec import (
    AFFIX_BITS,
    AFFIX_FACTORS,
    AFFIX_MASKS,
    END,
    END_SLOT,
    MIX,
    SPEC,
    TOKEN_MODULUS,
    UNKNOWN_SLOT,
)

_PLAIN = r"[\t-\r -~]*"  # texts that folding changes no more than lower-casing their bytes
_PAGE_BITS = 7


def token_hashes(text: tf.Tensor, max_tokens: int, affixes: Sequence[int] = ()) -> tf.RaggedTensor:
    """Hashes the first `max_tokens` tokens of each text.

    Args:
      text: `[batch]` string; any bytes.
      max_tokens: tokens kept of a text; at least 1.
      affixes: as of `text_spec.token_hash`.

    Returns:
      `[batch, (tokens)]` int64, 0 or more. A text without tokens is an empty row. Its `values` and
      `value_rowids()` are there already; `row_splits` takes more ops.
    """
    values, indices, n = flat_hashes(text, max_tokens, affixes)
    return tf.RaggedTensor.from_value_rowids(values, indices[:, 0], n, validate=False)


def flat_hashes(
    text: tf.Tensor, max_tokens: int, affixes: Sequence[int] = ()
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Hashes tokens as `token_hashes` does, without a ragged tensor, whose row splits cost ops.

    Returns:
      Hashes `[tokens]` int64; each token's text and index in it, `[tokens, 2]` int64; the number of texts, int64.
    """
    return _flat(text, max_tokens, lambda tokens: hashes(tokens, affixes))


def flat_tokens(text: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns tokens as UTF-8 strings where `flat_hashes` returns their hashes; the rest as there."""
    return _flat(text, max_tokens, lambda tokens: tokens)


def _flat(
    text: tf.Tensor, max_tokens: int, values_of: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; at least 1")
    lower = tf.strings.lower(_folded(text))
    apart = tf.strings.regex_replace(lower, _isolated(), r" \0 ")
    split = tf.raw_ops.StringSplitV2(input=apart, sep="", maxsplit=max_tokens)
    values = values_of(split.values)

    def cut() -> tuple[tf.Tensor, tf.Tensor]:
        kept = split.indices[:, 1] < max_tokens  # the op leaves the text behind the last split in one piece
        return tf.boolean_mask(values, kept), tf.boolean_mask(split.indices, kept)

    n, longest = tf.unstack(split.shape, 2)
    values, indices = tf.cond(longest > max_tokens, cut, lambda: (values, split.indices))
    return values, indices, n


def hashes(tokens: tf.Tensor, affixes: Sequence[int] = ()) -> tf.Tensor:
    """Hashes tokens `[tokens]`, UTF-8 and folded as `flat_tokens` returns them: int64, see `text_spec.token_hash`."""
    if not affixes:
        return tf.strings.to_hash_bucket_fast(tokens, TOKEN_MODULUS)
    prefix, suffix = affixes
    # Spaces in front make every token long enough: the op refuses a suffix that is longer than its string.
    padded = tf.strings.join([" " * suffix, tokens])
    parts = [tokens, tf.strings.substr(tokens, 0, prefix), tf.strings.substr(padded, -suffix, suffix)]
    hashed = tf.strings.to_hash_bucket_fast(tf.stack(parts), 2**AFFIX_BITS)
    return tf.reduce_sum(hashed * np.array([[2 ** (2 * AFFIX_BITS)], [2**AFFIX_BITS], [1]], np.int64), 0)


def ngram_ids(hashes: tf.RaggedTensor, orders: tuple[int, ...], buckets: int) -> tf.Tensor:
    """Returns the ids of the n-grams that begin at each token.

    Args:
      hashes: `[batch, (tokens)]` int64, of `token_hashes`.
      orders: how many tokens the n-grams span, for example (1, 2).
      buckets: ids are below it; at most 2^31 - 1.

    Returns:
      `[total tokens, len(orders)]` int32; row i belongs to `hashes.values[i]`. An n-gram that runs past its text's last
      token ends with a mark instead.
    """
    text_spec.check_orders(orders, buckets)
    return tf.math.floormod(mixed(hashes.values, hashes.value_rowids(), orders), buckets)


def mixed(values: tf.Tensor, rows: tf.Tensor, orders: tuple[int, ...], axis: int = 1) -> tf.Tensor:
    """Mixes token hashes to n-grams, whose ids are remainders of the result.

    Args:
      values: `[tokens]` int64 token hashes.
      rows: `[tokens]`, the text of each, rising.
      orders: how many tokens the n-grams span.
      axis: of the orders in the result.

    Returns:
      `[tokens, len(orders)]` int32, or with axis 0 `[len(orders), tokens]`.
    """
    chained = values
    chains = {1: chained}
    if max(orders) > 1:
        past = _past(rows)  # `x | past` is x, or END behind the last token
        for order in range(2, max(orders) + 1):
            following = tf.bitwise.bitwise_or(_next(chained, END), past)
            chained = tf.bitwise.bitwise_xor(values, following * text_spec.chain(order))
            chains[order] = chained
    return _high_half(tf.stack([chains[order] for order in orders], axis) * MIX)


def mixed_offsets(values: tf.Tensor, rows: tf.Tensor, window: int) -> tf.Tensor:
    """Mixes the token hashes at each offset of a window; ids are remainders of the result, `[tokens, window]` int32."""
    ahead = [values]
    past = _past(rows)
    for _ in range(1, window):
        ahead.append(tf.bitwise.bitwise_or(_next(ahead[-1], END), past))
    return _high_half(tf.stack(ahead, axis=1) * tf.constant(text_spec.offset_factors(window), tf.int64))


def composed_ids(
    values: tf.Tensor,
    rows: tf.Tensor,
    window: int,
    buckets: int,
    affixes: Sequence[int] = (),
    vocabulary: tf.Tensor | np.ndarray | None = None,
) -> tf.Tensor:
    """Returns the table rows that each composed n-gram is the sum of, as `text_spec.composed_ids` does.

    Args:
      values: `[tokens]` int64 token hashes, made with these affixes.
      rows: `[tokens]` int64, the text of each, rising.
      window, buckets: of the student.
      affixes: as of `text_spec.token_hash`.
      vocabulary: `[size]` int64, as of `text_spec.slots`; None where tokens are hashed to rows.

    Returns:
      `[tokens, window + len(affixes)]` int32.
    """
    text_spec.check_orders(range(1, window + 1), buckets)
    if vocabulary is None:
        first, ids = 0, tf.math.floormod(mixed_offsets(values, rows, window), buckets)
    else:
        first = (int(vocabulary.shape[0]) + UNKNOWN_SLOT + 1) * window
        ids = _slot_ids(values, rows, window, vocabulary)
    if not affixes:
        return ids
    return tf.concat([ids, _affix_ids(values, buckets, first)], 1)


def part_ids(
    values: tf.Tensor,
    window: int,
    buckets: int,
    affixes: Sequence[int] = (),
    vocabulary: tf.Tensor | np.ndarray | None = None,
) -> tf.Tensor:
    """Returns the table rows of tokens at every offset, wherever the tokens stand.

    `composed_ids` reads column k of a token from the token k positions on. Here each token has all of its own rows, so
    that a batch can read them once for each distinct token.

    Args:
      values: `[tokens]` int64 token hashes, of any texts in any order; the rest as of `composed_ids`.

    Returns:
      `[1 + tokens, window + len(affixes)]` int32. Row 0 belongs to the mark behind a text's last token; its affixes' ids
      mean nothing. Columns are the offsets 1 to `window - 1`, then offset 0, then the affixes.
    """
    text_spec.check_orders(range(1, window + 1), buckets)
    first = 0
    offsets = [*range(1, window), 0]
    if vocabulary is None:
        factors = [text_spec.offset_factors(window)[offset] for offset in offsets]
        hashes = tf.concat([tf.constant([END], tf.int64), values], 0)
        ids = tf.math.floormod(_high_half(hashes[:, None] * tf.constant(factors, tf.int64)), buckets)
    else:
        first = (int(vocabulary.shape[0]) + UNKNOWN_SLOT + 1) * window
        slots = tf.concat([tf.constant([END_SLOT]), _slots(values, vocabulary)], 0)
        ids = slots[:, None] * window + np.array(offsets, np.int32)
    if not affixes:
        return ids
    return tf.concat([ids, tf.pad(_affix_ids(values, buckets, first), [[1, 0], [0, 0]])], 1)


def _affix_ids(values: tf.Tensor, buckets: int, first: int) -> tf.Tensor:
    parts = tf.bitwise.bitwise_and(values[:, None], np.array(AFFIX_MASKS, np.int64))
    return tf.math.floormod(_high_half(parts * np.array(AFFIX_FACTORS, np.int64)), buckets - first) + first


def _slots(values: tf.Tensor, vocabulary: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Looks up tokens' slots, as `text_spec.slots` does: `[tokens]` int32."""
    known = tf.convert_to_tensor(vocabulary)
    position = tf.raw_ops.LowerBound(sorted_inputs=tf.expand_dims(known, 0), values=tf.expand_dims(values, 0))[0]
    position = tf.minimum(position, int(vocabulary.shape[0]) - 1)
    is_known = tf.equal(tf.gather(known, position), values)
    return tf.where(is_known, position + (UNKNOWN_SLOT + 1), UNKNOWN_SLOT)


def following(positions: tf.Tensor, rows: tf.Tensor, window: int) -> tf.Tensor:
    """Returns where each token's followers stand among rows of which row 0 is the mark behind a text's last token.

    Args:
      positions: `[tokens]` int32, 1 or more.
      rows: `[tokens]` int64, the text of each, rising.
      window: at least 2.

    Returns:
      `[tokens, window - 1]` int32: column k has the position of the token k + 1 behind, 0 past its text's last token.
    """
    inside = tf.cast(tf.bitwise.invert(_past(rows)), tf.int32)
    ahead = [positions]
    for _ in range(1, window):
        ahead.append(tf.bitwise.bitwise_and(_next(ahead[-1], END_SLOT), inside))
    return tf.stack(ahead[1:], 1)


def _slot_ids(values: tf.Tensor, rows: tf.Tensor, window: int, vocabulary: tf.Tensor | np.ndarray) -> tf.Tensor:
    ahead = [_slots(values, vocabulary)]
    inside = tf.cast(
        tf.bitwise.invert(_past(rows)), tf.int32
    )  # `x & inside` is x, or END_SLOT (0) behind the last token
    for _ in range(1, window):
        ahead.append(tf.bitwise.bitwise_and(_next(ahead[-1], END_SLOT), inside))
    return tf.stack(ahead, 1) * window + np.arange(window, dtype=np.int32)


def _high_half(products: tf.Tensor) -> tf.Tensor:
    """Takes the upper 32 bits of int64 products, int32."""
    return tf.cast(tf.bitwise.right_shift(products, tf.constant(32, tf.int64)), tf.int32)


def _past(rows: tf.Tensor) -> tf.Tensor:
    """Marks each text's last token by all ones and the others by all zeros, of the dtype of `rows`."""
    return tf.bitwise.right_shift(rows - _next(rows, rows.dtype.max), tf.constant(63, rows.dtype))


def _next(values: tf.Tensor, last: int) -> tf.Tensor:
    """Moves every element one place towards the front, and `last` in behind."""
    return tf.concat([values, tf.constant([last], values.dtype)], 0)[1:]


def _folded(text: tf.Tensor) -> tf.Tensor:
    """Folds the characters of texts; returns texts unchanged where all are plain ASCII."""

    def fold() -> tf.Tensor:
        rows = tf.where(tf.logical_not(tf.strings.regex_full_match(text, _PLAIN)))
        return tf.tensor_scatter_nd_update(text, rows, _fold(tf.gather_nd(text, rows)))

    # All texts as one: a search starts once, and not once a text.
    return tf.cond(tf.strings.regex_full_match(tf.strings.reduce_join(text), _PLAIN), lambda: text, fold)


@cache
def _isolated() -> str:
    """Returns RE2's pattern for what becomes a token of its own."""
    ranges = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in SPEC["isolated"])
    return f"{SPEC['number']}|[{ranges}]"


@cache
def _pages() -> tuple[np.ndarray, np.ndarray]:
    """Returns the folding table in two levels: where each page of 128 codes begins, and what is added to each code."""
    shift = np.zeros(0x110000, np.int32)
    for code, to in text_spec.fold_table().items():
        shift[code] = to - code
    pages, starts = np.unique(shift.reshape(-1, 1 << _PAGE_BITS), axis=0, return_inverse=True)
    return starts.reshape(-1).astype(np.int32) << _PAGE_BITS, pages.reshape(-1)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _fold(text: tf.Tensor) -> tf.Tensor:
    """Replaces invalid UTF-8 and folds every character; a tf.function, so that a saved model holds the table once."""
    starts, shifts = _pages()
    decoded = tf.raw_ops.UnicodeDecode(input=text, input_encoding="UTF-8", errors="replace", replacement_char=0xFFFD)
    codes = decoded.char_values
    page = tf.gather(starts, tf.bitwise.right_shift(codes, _PAGE_BITS))
    folded = codes + tf.gather(shifts, page + tf.bitwise.bitwise_and(codes, (1 << _PAGE_BITS) - 1))
    encoded = tf.raw_ops.UnicodeEncode(input_values=folded, input_splits=decoded.row_splits, output_encoding="UTF-8")
    return tf.strings.regex_replace(encoded, "\0", "")
