"""Cuts strings into ids in the graph: word pieces, tri-letters, hashed n-grams. What a tower reads, saved as a JSON spec.

Word pieces go through TF.Text's `FastWordpieceTokenizer` (Song et al. 2021, arXiv 2012.15524): a graph with it needs
tensorflow_text. Tri-letters and n-grams are core TensorFlow ops and need no dictionary.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.text_spec import check_orders
from tfb2d.twin.bert_text import BertText

MAX_CHARACTERS = 100  # of a word; a longer one is unknown, as in BERT's tokenizer
WINDOW = 3  # letters of a tri-letter


class Inputs:
    """Turns texts into the tensors that a tower reads."""

    kind: str  # its name in a spec
    settings: tuple[str, ...]  # names of the constructor's arguments, which are attributes, too

    def spec(self) -> dict[str, Any]:
        """Returns what `inputs_from_spec` makes the same inputs from; JSON holds it."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in self.settings}}

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Cuts texts, `[n]` string of any bytes, into tensors by name, `[n, ...]`, padded to the longest; see the class."""
        raise NotImplementedError


class WordPieceInputs(Inputs):
    """Cuts texts into word pieces, with the ids of the `tokenizers` library's BERT tokenizer (`teachers/tokens.py`).

    Special tokens in a text are cut like any other text. Calling it returns `token_ids` and `padding_mask` (1 for
    tokens), both `[n, longest]` int32, at most `max_length` long; the special tokens at both ends are part of it.

    Args:
      vocabulary: the pieces, in the order of their ids; each once.
      lowercase, strip_accents: what happens to texts first.
      max_length: tokens kept of a text, the two special ones included; at least 2.
      start, end, padding, unknown: the special tokens' names in the vocabulary.

    Raises:
      ValueError: a special token is not in the vocabulary, a piece is in it twice, or `max_length` is too small.
      ImportError: there is no tensorflow_text.
    """

    kind = "wordpiece"
    settings = ("vocabulary", "lowercase", "strip_accents", "max_length", "start", "end", "padding", "unknown")

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool,
        strip_accents: bool,
        max_length: int,
        *,
        start: str = "[CLS]",
        end: str = "[SEP]",
        padding: str = "[PAD]",
        unknown: str = "[UNK]",
    ) -> None:
        import tensorflow_text

        if max_length < 2:
            raise ValueError(f"max_length is {max_length}; the two special tokens alone are 2")
        ids = {piece: index for index, piece in enumerate(vocabulary)}
        if len(ids) < len(vocabulary):
            twice = next(piece for index, piece in enumerate(vocabulary) if ids[piece] != index)
            raise ValueError(f"the vocabulary has the piece {twice!r} twice")
        missing = [name for name in (start, end, padding, unknown) if name not in ids]
        if missing:
            raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}")
        self.vocabulary, self.max_length = tuple(vocabulary), max_length
        self.lowercase, self.strip_accents = bool(lowercase), bool(strip_accents)
        self.start, self.end, self.padding, self.unknown = start, end, padding, unknown
        self.start_id, self.end_id, self.padding_id = ids[start], ids[end], ids[padding]
        self._normalized = BertText(self.lowercase, self.strip_accents)
        self._cut = tensorflow_text.FastWordpieceTokenizer(
            list(vocabulary),
            unknown_token=unknown,
            token_out_type=tf.int32,
            no_pretokenization=True,
            max_bytes_per_word=4 * MAX_CHARACTERS,  # words with more characters are replaced before
        )

    def pieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the ids of texts without special tokens, `[n, (pieces)]` int32: at least the first `max_length - 2`."""
        # Each word has one piece or more. What follows the last split is cut off later.
        split = tf.raw_ops.StringSplitV2(input=self._normalized(texts), sep="", maxsplit=max(self.max_length - 2, 1))
        long = tf.strings.length(split.values, unit="UTF8_CHAR") > MAX_CHARACTERS
        by_word = self._cut.tokenize(tf.where(long, self.unknown, split.values))
        word_splits = tf.searchsorted(split.indices[:, 0], tf.range(split.shape[0] + 1))
        return tf.RaggedTensor.from_row_splits(
            by_word.values, tf.gather(by_word.row_splits, word_splits), validate=False
        )

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds special tokens at both ends, and padding."""
        pieces = self.pieces(texts)[:, : self.max_length - 2]
        n = tf.shape(texts)[0]
        start, end = (tf.fill([n, 1], index) for index in (self.start_id, self.end_id))
        whole = tf.concat([start, pieces, end], 1)
        padded = whole.to_tensor(self.padding_id)
        mask = tf.sequence_mask(whole.row_lengths(), tf.shape(padded)[1], tf.int32)
        return {"token_ids": padded, "padding_mask": mask}


class TriLetterInputs(Inputs):
    """Hashes the tri-letters of words (TwinBERT, arXiv 2002.06275, section 3.1, after DSSM, Huang et al. 2013).

    Words are the tokens of hash spec 2 (docs/hash_spec.md), lower-case and without accents. A word is written `#word#` and
    cut into windows of three characters, at most `max_letters`. Calling it returns `ids`, `[n, words, letters]` int32: 0 is
    padding, others are below `buckets`. A word has one tri-letter or more, so `ids[:, :, 0] > 0` says where words are.

    Args:
      buckets: rows of the table, of which row 0 is never a tri-letter's; at least 2.
      max_words: words kept of a text.
      max_letters: tri-letters kept of a word.
    """

    kind = "triletters"
    settings = ("buckets", "max_words", "max_letters")

    def __init__(self, buckets: int, max_words: int, max_letters: int = 20) -> None:
        if buckets < 2 or max_words < 1 or max_letters < 1:
            raise ValueError(f"{buckets} buckets, {max_words} words, {max_letters} tri-letters: at least 2, 1 and 1")
        self.buckets, self.max_words, self.max_letters = buckets, max_words, max_letters

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Hashes the tri-letters of each word."""
        words, indices, n = text.flat_tokens(texts, self.max_words)
        counts = tf.minimum(tf.strings.length(words, unit="UTF8_CHAR"), self.max_letters)
        letters = tf.maximum(tf.reduce_max(counts), 1)
        # Spaces make every word long enough for every window; windows that reach into them are padding.
        marked = tf.strings.join(["#", words, "#" + " " * self.max_letters])
        at = tf.range(letters)[None]
        windows = tf.strings.substr(marked[:, None], at, tf.fill(tf.shape(at), WINDOW), unit="UTF8_CHAR")
        hashes = tf.strings.to_hash_bucket_fast(windows, self.buckets - 1) + 1
        ids = tf.cast(hashes, tf.int32) * tf.sequence_mask(counts, letters, tf.int32)
        longest = tf.maximum(tf.reduce_max(indices[:, 1]) + 1, 1)
        return {"ids": tf.scatter_nd(indices, ids, tf.stack([n, longest, tf.cast(letters, tf.int64)]))}


class NGramInputs(Inputs):
    """Hashes n-grams of tokens by hash spec 2, as the DNN student does (`students/text.py`).

    Calling it returns `ids`, `[n, longest, orders]` int32, 0 after a text's last token, and `lengths`, `[n]` int32, the
    tokens of each text; 0 is an n-gram's id as well, so `lengths` tells padding. The longest is 1 or more.

    Args:
      buckets: ids are below it.
      orders: how many tokens the n-grams span.
      max_tokens: tokens kept of a text.
    """

    kind = "ngrams"
    settings = ("buckets", "orders", "max_tokens")

    def __init__(self, buckets: int, orders: Sequence[int], max_tokens: int) -> None:
        check_orders(tuple(orders), buckets)
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}; at least 1")
        self.buckets, self.orders, self.max_tokens = buckets, tuple(orders), max_tokens

    def flat(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns n-grams without padding, as serving wants them.

        Returns:
          Ids `[tokens, orders]` int32; each token's text and index in it, `[tokens, 2]` int64; the number of texts, int64.
        """
        hashes, indices, n = text.flat_hashes(texts, self.max_tokens)
        ids = tf.math.floormod(text.mixed(hashes, indices[:, 0], self.orders), self.buckets)
        return ids, indices, n

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Hashes n-grams and pads them."""
        ids, indices, n = self.flat(texts)
        longest = tf.maximum(tf.reduce_max(indices[:, 1]) + 1, 1)
        padded = tf.scatter_nd(indices, ids, tf.stack([n, longest, len(self.orders)]))
        lengths = tf.math.bincount(tf.cast(indices[:, 0], tf.int32), minlength=tf.cast(n, tf.int32))
        return {"ids": padded, "lengths": lengths}


KINDS: dict[str, type[Inputs]] = {each.kind: each for each in (WordPieceInputs, TriLetterInputs, NGramInputs)}


def inputs_from_spec(spec: dict[str, Any]) -> Inputs:
    """Makes inputs from their spec; raises ValueError where the kind is not known here."""
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"inputs of kind {kind!r}; known are {', '.join(KINDS)}")
    return KINDS[kind](**settings)
