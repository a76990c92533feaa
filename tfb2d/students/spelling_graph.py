"""`spelling.Dictionary.read` as a TensorFlow graph, of core TensorFlow ops."""

import numpy as np
import tensorflow as tf

from tfb2d.students import text
from tfb2d.students.spelling import LETTERS, LONGEST, WORD, Dictionary
from tfb2d.students.text_spec import UNUSED

WORD_BYTES = 16  # of a known word in the variables: its hash, its rank and its position


class Spelling(tf.Module):
    """Reads unknown tokens of queries as known words that are one edit away.

    Args:
      dictionary: the known words, one or more; variables hold them, so that a saved model has them once.

    Attributes:
      weights: all variables.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        super().__init__()
        self.size = len(dictionary)
        hashes = np.append(dictionary.hashes, UNUSED)[None]  # its end is where a search for larger hashes ends
        self.hashes = tf.Variable(hashes, trainable=False, name="known_words")
        ranks = np.append(dictionary.ranks, self.size).astype(np.int32)
        self.ranks = tf.Variable(ranks, trainable=False, name="word_ranks")
        positions = np.argsort(dictionary.ranks).astype(np.int32)  # of the words in `hashes`, the most frequent first
        self.positions = tf.Variable(positions, trainable=False, name="word_positions")
        self.weights = [self.hashes, self.ranks, self.positions]
        # One op of a branch that is seldom taken: ops that are not run cost steps, too.
        apart = {"_noinline": True}
        self._corrected = tf.function(self._correct, autograph=False, experimental_attributes=apart)

    def read(self, tokens: tf.Tensor, hashes: tf.Tensor, first: tf.Tensor | int, end: tf.Tensor | None) -> tf.Tensor:
        """Returns the hashes of tokens, `[tokens]` int64, those of queries as they are read.

        Args:
          tokens: `[tokens]`, as of `text.flat_tokens`.
          hashes: theirs, without affixes.
          first, end: the queries' tokens are `tokens[first:end]`.
        """
        queries = hashes[first:end][None]
        known = tf.reduce_all(tf.equal(self._nearest(queries)[1], queries))
        return tf.cond(known, lambda: hashes, lambda: self._corrected(tokens, hashes, first, end))

    def _nearest(self, hashes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the least known hash that is not less than each of `hashes`, `[1, n]`: its position and itself."""
        position = tf.raw_ops.LowerBound(sorted_inputs=self.hashes, values=hashes)
        return position, tf.gather(self.hashes, position, axis=1, batch_dims=1)

    def _correct(
        self, tokens: tf.Tensor, hashes: tf.Tensor, first: tf.Tensor | int, end: tf.Tensor | None
    ) -> tf.Tensor:
        queries = hashes[first:end]
        unknown = tf.where(tf.not_equal(self._nearest(queries[None])[1][0], queries))[:, 0] + tf.cast(first, tf.int64)
        unknown = tf.boolean_mask(unknown, tf.strings.regex_full_match(tf.gather(tokens, unknown), WORD))
        return tf.cond(tf.size(unknown) > 0, lambda: self._replaced(tokens, hashes, unknown), lambda: hashes)

    def _replaced(self, tokens: tf.Tensor, hashes: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
        """Returns the hashes with those of unknown words, at the positions `unknown`, replaced where a word is near."""
        words, number = tf.unique(tf.gather(tokens, unknown))  # a batch repeats its queries
        near, owners = _edits(words)
        flat = tf.reshape(text.hashes(near), [1, -1])
        position, found = self._nearest(flat)
        ranks = tf.where(tf.equal(found, flat), tf.gather(self.ranks, position), self.size)
        best = tf.math.segment_min(tf.reduce_min(tf.reshape(ranks, tf.shape(near)), 1), owners)
        best = tf.gather(best, number)
        kept = best < self.size
        read = tf.gather(self.hashes[0], tf.gather(self.positions, tf.boolean_mask(best, kept)))
        return tf.tensor_scatter_nd_update(hashes, tf.boolean_mask(unknown, kept)[:, None], read)


def _edits(words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `spelling.edits` yields of words `[n]`, and more often: `[letters of all words, k]`; and whose they are.

    The owners are rising indices of words, `[letters of all words]` int64.
    """
    lengths = tf.strings.length(words)
    letters = tf.RaggedTensor.from_row_lengths(tf.zeros([tf.reduce_sum(lengths)]), lengths)
    owners = letters.value_rowids()
    word, length = tf.gather(words, owners), tf.gather(lengths, owners)
    at = tf.range(tf.size(owners)) - tf.gather(tf.cumsum(lengths, exclusive=True), owners) + 1

    def part(first: tf.Tensor, count: int) -> tf.Tensor:
        """Cuts `count` letters of each word from `first` on; there may be fewer."""
        return tf.strings.substr(word, tf.minimum(first, length), tf.fill(tf.shape(length), count))

    head = tf.strings.substr(word, tf.zeros_like(at), at)
    tail, after = part(at, LONGEST), part(at + 1, LONGEST)
    swapped = head + part(at + 1, 1) + part(at, 1) + part(at + 2, LONGEST)
    added, replaced = (head[:, None] + list(LETTERS) + rest[:, None] for rest in (tail, after))
    return tf.concat([added, replaced, tf.stack([head + after, swapped], 1)], 1), owners
