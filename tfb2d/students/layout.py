"""The two layouts of a batch's tokens in a tensor: one text after another, or each filled up to the longest.

Training reads texts one after another, so that no padding is embedded. TensorFlow Lite has no ragged tensors, so its form
reads padded ones. The student's arithmetic is written once, in terms of what the two layouts have in common.
"""

import tensorflow as tf


class Texts:
    """A batch of texts in one of the two layouts, the subclasses.

    In the shapes below `tokens` stands for the layout's own axes: `[tokens of the whole batch]`, or `[batch, positions]`.
    """

    lengths: tf.Tensor  # `[batch]` float32, how many tokens each text has

    def pool(self, vectors: tf.Tensor) -> tf.Tensor:
        """Sums `[tokens, n-grams of a token, dim]` by text over the root of their number: `[batch, dim]` float32.

        A text without tokens gives zeros. Reference: BERT2DNN (arXiv 2010.10442), section 3.1.
        """
        count = tf.maximum(self.lengths * float(vectors.shape[-2]), 1.0)
        return self.sum(vectors) * tf.expand_dims(tf.math.rsqrt(count), 1)

    def sum(self, vectors: tf.Tensor) -> tf.Tensor:
        """Sums `[tokens, n-grams, dim]` over each text: `[batch, dim]`."""
        raise NotImplementedError

    def mask(self) -> tf.Tensor:
        """Returns `[batch, positions]` float32: 1 where a text has a token, 0 after its end."""
        raise NotImplementedError

    def padded(self, values: tf.Tensor, fill: int = 0) -> tf.Tensor:
        """Lays `[tokens, *]` out as `[batch, positions, *]`; ragged texts are filled up with `fill`."""
        return values

    def tokens(self, padded: tf.Tensor) -> tf.Tensor:
        """Takes `[batch, positions, *]` back into this layout, `[tokens, *]`."""
        return padded

    def only_tokens(self, values: tf.Tensor) -> tf.Tensor:
        """Sets values `[tokens, dim]` of padding, where the layout has any, to zero."""
        return values

    def neighbours(self, vectors: tf.Tensor, dilation: int) -> tf.Tensor:
        """Puts vectors `[tokens, dim]` of the tokens `dilation` before, at and after each token side by side.

        Returns `[tokens, 3 * dim]`; zeros beyond a text's ends.
        """
        raise NotImplementedError


class RaggedTexts(Texts):
    """Texts one after another; ragged token hashes, `[batch, (tokens)]`, say where they begin and end."""

    def __init__(self, hashes: tf.RaggedTensor) -> None:
        self.hashes = hashes
        self.rows = hashes.value_rowids()
        self.lengths = tf.cast(hashes.row_lengths(), tf.float32)

    def sum(self, vectors: tf.Tensor) -> tf.Tensor:
        """Sums each text's vectors; see Texts."""
        total = tf.math.segment_sum(tf.reduce_sum(vectors, 1), self.rows)
        # A segment sum ends at the last text that has tokens; texts after it are zeros.
        return tf.pad(total, [[0, tf.cast(self.hashes.nrows(), tf.int32) - tf.shape(total)[0]], [0, 0]])

    def padded(self, values: tf.Tensor, fill: int = 0) -> tf.Tensor:
        """Fills texts up to the longest; see Texts."""
        return self.hashes.with_values(values).to_tensor(fill)

    def tokens(self, padded: tf.Tensor) -> tf.Tensor:
        """Removes the padding; see Texts."""
        return tf.gather_nd(padded, tf.where(tf.sequence_mask(self.hashes.row_lengths())))

    def mask(self) -> tf.Tensor:
        """Returns where texts have tokens; see Texts."""
        return tf.sequence_mask(self.hashes.row_lengths(), dtype=tf.float32)

    def neighbours(self, vectors: tf.Tensor, dilation: int) -> tf.Tensor:
        """Puts each token's neighbours side by side; see Texts."""
        n, around = tf.shape(vectors)[0], [[dilation, dilation], [0, 0]]
        padded, texts = tf.pad(vectors, around), tf.pad(self.rows, around[:1], constant_values=-1)

        def moved(start: int) -> tf.Tensor:
            same_text = tf.equal(texts[start : start + n], self.rows)
            return padded[start : start + n] * tf.expand_dims(tf.cast(same_text, vectors.dtype), 1)

        return tf.concat([moved(0), vectors, moved(2 * dilation)], 1)


class PaddedTexts(Texts):
    """Texts filled up to the longest; vectors of padding are zeros.

    `present`, `[batch, positions]` float32, is 1 where a text has a token, 0 after its end.
    """

    def __init__(self, present: tf.Tensor) -> None:
        self.present = present
        self.lengths = tf.reduce_sum(present, 1)

    def sum(self, vectors: tf.Tensor) -> tf.Tensor:
        """Sums each text's vectors; see Texts."""
        return tf.reduce_sum(vectors, [1, 2])

    def mask(self) -> tf.Tensor:
        """Returns where texts have tokens; see Texts."""
        return self.present

    def only_tokens(self, values: tf.Tensor) -> tf.Tensor:
        """Sets padding to zero; see Texts."""
        return values * tf.expand_dims(self.present, -1)

    def neighbours(self, vectors: tf.Tensor, dilation: int) -> tf.Tensor:
        """Puts each token's neighbours side by side; see Texts."""
        positions = tf.shape(vectors)[1]
        padded = tf.pad(vectors, [[0, 0], [dilation, dilation], [0, 0]])
        return tf.concat([padded[:, start : start + positions] for start in (0, dilation, 2 * dilation)], 2)
