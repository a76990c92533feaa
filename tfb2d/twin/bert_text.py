"""BERT's text normalisation as a TensorFlow graph of core ops: what becomes of each character before it is cut into pieces.

TF.Text's own normaliser is not the one that encoders were trained with. It folds by NFKC, so that "ß" becomes "ss", "½"
becomes "1⁄2" and "Ａ" becomes "a"; it puts spaces for control characters; it knows other Unicode versions. Over all code
points its tokens differ at 143,000. BERT's normalisation takes one character at a time, so it is a table here. The table is
read from the `tokenizers` library, which the teachers use.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

PAGE_BITS = 7
ITSELF = -1  # in a sequence: the code point that is looked up
SPACE = 32
_PLAIN = r"[\t\n\r -~]*"  # texts that need lower-casing and punctuation apart, and nothing else
_PUNCTUATION = r"[!-/:-@\[-`{-~]"


class CharacterTable(NamedTuple):
    """Maps each code point to what replaces it, in two levels of pages."""

    starts: np.ndarray  # int32 `[0x110000 >> PAGE_BITS]`, where the page of a code point begins in `pages`
    pages: np.ndarray  # int32, the row of `sequences` of each code point of a page
    # Int32 `[sequences, width]` code points, filled up with 0; `ITSELF` stands for the code point itself
    sequences: np.ndarray


@cache
def character_table(lowercase: bool, strip_accents: bool) -> CharacterTable:
    """Reads what the `tokenizers` library's BertNormalizer makes of every code point, in two seconds.

    Returns the table. A character that is a word of its own has a space on either side; what is left out is an empty
    sequence.
    """
    from tokenizers import normalizers, pre_tokenizers

    separator = "|"
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code != ord(separator)]
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    normalized = normalizer.normalize_str(separator.join(map(chr, codes))).split(separator)
    characters = sorted(set("".join(normalized)))
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str("a".join(["", *characters, ""]))
    alone = {word for word, _ in words if len(word) == 1 and word != "a"} | {separator}
    known: dict[tuple[int, ...], int] = {(ITSELF,): 0}  # the first sequence, also of surrogates, which never come
    table = np.zeros(0x110000, np.int32)
    for code, text in zip([*codes, ord(separator)], [*normalized, separator], strict=True):
        parts: list[int] = []
        for character in text:
            middle = ITSELF if ord(character) == code else ord(character)
            parts += (SPACE, middle, SPACE) if character in alone else (middle,)
        table[code] = known.setdefault(tuple(parts), len(known))
    sequences = np.zeros((len(known), max(map(len, known))), np.int32)
    for sequence, row in known.items():
        sequences[row, : len(sequence)] = sequence
    pages, starts = np.unique(table.reshape(-1, 1 << PAGE_BITS), axis=0, return_inverse=True)
    return CharacterTable(starts.reshape(-1).astype(np.int32) << PAGE_BITS, pages.reshape(-1), sequences)


class BertText:
    """Normalises texts; calling it adds ops to a graph."""

    def __init__(self, lowercase: bool, strip_accents: bool) -> None:
        self.lowercase = lowercase
        table = character_table(lowercase, strip_accents)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def replace(texts: tf.Tensor) -> tf.Tensor:  # a tf.function, so that a saved model holds the table once
            return _replace(texts, table)

        self._replace = replace

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns texts `[n]` whose words have spaces between them. Bytes that are not UTF-8 are left out, as U+FFFD is."""
        plain = tf.strings.regex_full_match(texts, _PLAIN)

        def plain_text() -> tf.Tensor:
            lower = tf.strings.lower(texts) if self.lowercase else texts
            return tf.strings.regex_replace(lower, _PUNCTUATION, r" \0 ")

        return tf.cond(tf.reduce_all(plain), plain_text, lambda: self._replace(texts))


def _replace(texts: tf.Tensor, table: CharacterTable) -> tf.Tensor:
    decoded = tf.raw_ops.UnicodeDecode(input=texts, input_encoding="UTF-8", errors="replace", replacement_char=0xFFFD)
    codes = decoded.char_values
    page = tf.gather(table.starts, tf.bitwise.right_shift(codes, PAGE_BITS))
    rows = tf.gather(table.pages, page + tf.bitwise.bitwise_and(codes, (1 << PAGE_BITS) - 1))
    sequences = tf.gather(table.sequences, rows)
    sequences = tf.where(tf.equal(sequences, ITSELF), codes[:, None], sequences)
    kept = tf.not_equal(sequences, 0)
    ends = tf.concat([[0], tf.cumsum(tf.reduce_sum(tf.cast(kept, tf.int64), 1))], 0)
    return tf.raw_ops.UnicodeEncode(
        input_values=tf.boolean_mask(sequences, kept),
        input_splits=tf.gather(ends, decoded.row_splits),
        output_encoding="UTF-8",
    )
