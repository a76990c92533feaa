"""The hash spec (docs/hash_spec.md) as a TensorFlow graph: text -> token hashes -> n-gram ids.

It uses core TensorFlow ops only, and few of them: at batch 1 an op's start costs more than its work. For every string the
ids are those of `tfb2d/students/text_spec.py`, in every locale and with every ICU. `tf.strings.lower(encoding="utf-8")` is
not used: it lower-cases "I" by the server's LANG (dotless in Turkish), and ends a text at its first NUL.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfb2d.students import text_spec

if TYPE_CHECKING:
    from tfb2d.students.spelling_graph import Spelling

_PLAIN = r"[\t-\r -~]*"  # texts that folding changes no more than lower-casing their bytes
_PAGE_BITS = 7


def token_hashes(
    text: tf.Tensor, max_tokens: int, affixes: Sequence[int] = (), spelling: "Spelling | None" = None
) -> tf.RaggedTensor:
    """Hashes the first `max_tokens` tokens of each text, `[batch]` string of any bytes.

    Returns `[batch, (tokens)]` int64, 0 or more. A text without tokens is an empty row. Its `values` and
    `value_rowids()` are there already; `row_splits` takes more ops. `affixes` are those of `text_spec.token_hash`;
    `spelling` corrects queries.
    """
    tokens, indices, n = flat_tokens(text, max_tokens)
    values = hashes(tokens, affixes)
    if spelling is not None:
        values = spelling.read(tokens, values, 0, None)
    return tf.RaggedTensor.from_value_rowids(values, indices[:, 0], n, validate=False)


def flat_hashes(
    text: tf.Tensor, max_tokens: int, affixes: Sequence[int] = ()
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns hashes, `[tokens]` int64, where `flat_tokens` returns tokens; the rest as there."""
    tokens, indices, n = flat_tokens(text, max_tokens)
    return hashes(tokens, affixes), indices, n


def flat_tokens(text: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cuts texts into their first `max_tokens` tokens, without a ragged tensor, whose row splits cost ops.

    Returns the tokens `[tokens]`, UTF-8 and folded; each one's text and index in it, `[tokens, 2]` int64; the number of
    texts, int64.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; at least 1")
    lower = tf.strings.lower(_folded(text))
    spaced = tf.strings.regex_replace(lower, _isolated(), r" \0 ")
    split = tf.raw_ops.StringSplitV2(input=spaced, sep="", maxsplit=max_tokens)

    def cut() -> tuple[tf.Tensor, tf.Tensor]:
        kept = split.indices[:, 1] < max_tokens  # the op leaves the text after the last split in one piece
        return tf.boolean_mask(split.values, kept), tf.boolean_mask(split.indices, kept)

    n, longest = tf.unstack(split.shape, 2)
    tokens, indices = tf.cond(longest > max_tokens, cut, lambda: (split.values, split.indices))
    return tokens, indices, n


def hashes(tokens: tf.Tensor, affixes: Sequence[int] = ()) -> tf.Tensor:
    """Hashes tokens `[tokens]` of `flat_tokens`: int64, see `text_spec.token_hash`."""
    if not affixes:
        return tf.strings.to_hash_bucket_fast(tokens, text_spec.TOKEN_MODULUS)
    prefix, suffix = affixes
    # Spaces in front make every token long enough: the op refuses a suffix that is longer than its string.
    padded = tf.strings.join([" " * suffix, tokens])
    parts = [tokens, tf.strings.substr(tokens, 0, prefix), tf.strings.substr(padded, -suffix, suffix)]
    hashed = tf.strings.to_hash_bucket_fast(tf.stack(parts), 2**text_spec.AFFIX_BITS)
    return tf.reduce_sum(
        hashed * np.array([[2 ** (2 * text_spec.AFFIX_BITS)], [2**text_spec.AFFIX_BITS], [1]], np.int64), 0
    )


def ngram_ids(hashes: tf.RaggedTensor, orders: tuple[int, ...], buckets: int) -> tf.Tensor:
    """Returns the ids of the n-grams that begin at each token, as `text_spec.ngram_ids` does.

    Returns:
      `[total tokens, len(orders)]` int32; row i belongs to `hashes.values[i]`.
    """
    text_spec.check_orders(orders, buckets)
    return tf.math.floormod(mixed(hashes.values, hashes.value_rowids(), orders), buckets)


def mixed(values: tf.Tensor, rows: tf.Tensor, orders: tuple[int, ...], axis: int = 1) -> tf.Tensor:
    """Mixes token hashes `[tokens]` int64 to n-grams of `orders` tokens, whose ids are remainders of the result.

    `rows` `[tokens]` has the text of each token, rising. Returns int32 `[tokens, len(orders)]`; with axis 0
    `[len(orders), tokens]`.
    """
    chains = {1: values}
    if max(orders) > 1:
        past = _past(rows)
        for order in range(2, max(orders) + 1):
            following = _next(chains[order - 1], past, text_spec.END) * text_spec.chain(order)
            chains[order] = tf.bitwise.bitwise_xor(values, following)
    return _high_half(tf.stack([chains[order] for order in orders], axis) * text_spec.MIX)


def composed_ids(
    values: tf.Tensor,
    rows: tf.Tensor,
    window: int,
    buckets: int,
    affixes: Sequence[int] = (),
    vocabulary: tf.Tensor | np.ndarray | None = None,
) -> tf.Tensor:
    """Returns the table rows that each composed n-gram is the sum of, as `text_spec.composed_ids` does.

    `values` `[tokens]` int64 are token hashes, `rows` `[tokens]` int64 the text of each, rising.
    """
    text_spec.check_orders(range(1, window + 1), buckets)
    if vocabulary is None:
        first, ahead = 0, _ahead(values, rows, window, text_spec.END)
        ids = _bucket(tf.stack(ahead, 1) * tf.constant(text_spec.offset_factors(window), tf.int64), buckets)
    else:
        first = text_spec.first_hashed(vocabulary, window)
        ahead = _ahead(_slots(values, vocabulary), rows, window, text_spec.END_SLOT)
        ids = tf.stack(ahead, 1) * window + np.arange(window, dtype=np.int32)
    return tf.concat([ids, _affix_ids(values, buckets, first)], 1) if affixes else ids


def part_ids(
    values: tf.Tensor,
    window: int,
    buckets: int,
    affixes: Sequence[int] = (),
    vocabulary: tf.Tensor | np.ndarray | None = None,
) -> tf.Tensor:
    """Returns the table rows of tokens at every offset, wherever the tokens are; arguments as of `composed_ids`.

    `composed_ids` reads column k of a token from the token k positions on. Here each token has all of its own rows, so
    that a batch can read them once for each distinct token.

    Returns `[1 + tokens, window + len(affixes)]` int32. Row 0 belongs to the mark after a text's last token; its
    affixes' ids mean nothing. Columns are the offsets 1 to `window - 1`, then offset 0, then the affixes.
    """
    text_spec.check_orders(range(1, window + 1), buckets)
    offsets = [*range(1, window), 0]
    if vocabulary is None:
        first, hashes = 0, tf.concat([tf.constant([text_spec.END], tf.int64), values], 0)
        factors = [text_spec.offset_factors(window)[offset] for offset in offsets]
        ids = _bucket(hashes[:, None] * tf.constant(factors, tf.int64), buckets)
    else:
        first = text_spec.first_hashed(vocabulary, window)
        slots = tf.concat([tf.constant([text_spec.END_SLOT]), _slots(values, vocabulary)], 0)
        ids = slots[:, None] * window + np.array(offsets, np.int32)
    if not affixes:
        return ids
    return tf.concat([ids, tf.pad(_affix_ids(values, buckets, first), [[1, 0], [0, 0]])], 1)


def following(positions: tf.Tensor, rows: tf.Tensor, window: int) -> tf.Tensor:
    """Returns where each token's followers are among rows of which row 0 is the mark after a text's last token.

    `positions` `[tokens]` int32 are 1 or more; `rows` `[tokens]` int64 has the text of each token, rising. Column k of the
    result, `[tokens, window - 1]` int32, has the position of the token k + 1 further on, 0 past its text's last token.
    """
    return tf.stack(_ahead(positions, rows, window, text_spec.END_SLOT)[1:], 1)


def _affix_ids(values: tf.Tensor, buckets: int, first: int) -> tf.Tensor:
    parts = tf.bitwise.bitwise_and(values[:, None], np.array(text_spec.AFFIX_MASKS, np.int64))
    return _bucket(parts * np.array(text_spec.AFFIX_FACTORS, np.int64), buckets - first) + first


def _slots(values: tf.Tensor, vocabulary: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Looks up tokens' slots, as `text_spec.slots` does: `[tokens]` int32."""
    known = tf.convert_to_tensor(vocabulary)
    position = tf.raw_ops.LowerBound(sorted_inputs=tf.expand_dims(known, 0), values=tf.expand_dims(values, 0))[0]
    position = tf.minimum(position, int(vocabulary.shape[0]) - 1)
    is_known = tf.equal(tf.gather(known, position), values)
    return tf.where(is_known, position + (text_spec.UNKNOWN_SLOT + 1), text_spec.UNKNOWN_SLOT)


def _bucket(products: tf.Tensor, buckets: int) -> tf.Tensor:
    """Returns the table rows, below `buckets`, of int64 products."""
    return tf.math.floormod(_high_half(products), buckets)


def _high_half(products: tf.Tensor) -> tf.Tensor:
    """Takes the upper 32 bits of int64 products, int32."""
    return tf.cast(tf.bitwise.right_shift(products, tf.constant(32, tf.int64)), tf.int32)


def _ahead(values: tf.Tensor, rows: tf.Tensor, window: int, end: int) -> list[tf.Tensor]:
    """Lists the values of each token, of the next token, and so on; `end`, END or END_SLOT, past a text's last one."""
    ahead, past = [values], tf.cast(_past(rows), values.dtype)
    for _ in range(1, window):
        ahead.append(_next(ahead[-1], past, end))
    return ahead


def _next(values: tf.Tensor, past: tf.Tensor, end: int) -> tf.Tensor:
    """Returns the value of the token after each; `end` where `past` marks a text's last token."""
    moved = _moved(values, end)
    # END is all ones and END_SLOT all zeros: a bitwise op is cheaper than a choice.
    return moved | past if end == text_spec.END else moved & ~past


def _past(rows: tf.Tensor) -> tf.Tensor:
    """Marks each text's last token by all ones and the others by all zeros, of the dtype of `rows`."""
    return tf.bitwise.right_shift(rows - _moved(rows, rows.dtype.max), tf.constant(63, rows.dtype))


def _moved(values: tf.Tensor, last: int) -> tf.Tensor:
    """Moves every element one place towards the front, with `last` at the end."""
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
    ranges = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in text_spec.SPEC["isolated"])
    return f"{text_spec.SPEC['number']}|[{ranges}]"


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
