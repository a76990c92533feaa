"""The early exit as it is served: texts on which it is certain do not go through the convolutions."""

from typing import TYPE_CHECKING

import tensorflow as tf

from tfb2d.students.early_exit import EarlyExit, margins
from tfb2d.students.served_composed import convolved_pools

if TYPE_CHECKING:
    import tf_keras

    from tfb2d.students.served import ServedStudent
    from tfb2d.students.served_tokens import Tokens


class CheapOutput:
    """Computes logits of texts by the cheap dense layers, and the doubtful ones' again by the convolutions.

    Args:
      denses: the cheap output's layers.
      early_exit: says which texts are certain. Its scale and bias are multiplied into the last layer.
    """

    def __init__(self, denses: "list[tf_keras.layers.Dense]", early_exit: EarlyExit) -> None:
        scale, bias, self.centre, self.threshold = early_exit.numbers()
        self.layers = [(dense.kernel.numpy(), -dense.bias.numpy()) for dense in denses]
        kernel, negated = self.layers[-1]
        self.layers[-1] = (kernel * scale, negated * scale - bias)

    def logits(self, served: "ServedStudent", tokens: "Tokens") -> tf.Tensor:
        """Computes the logits of texts `[n, n_logits]`; the tokens of the doubtful ones are gathered."""
        (kernel, bias), *later = self.layers
        hidden = tf.matmul(tokens.pools, kernel) - bias
        for kernel, bias in later:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) - bias
        logits, doubtful = hidden - self.centre, margins(hidden) < self.threshold

        def convolved() -> tf.Tensor:
            texts = tf.where(doubtful)
            kept = tf.where(tf.gather(doubtful, tokens.rows))[:, 0]
            number = tf.cumsum(tf.cast(doubtful, tf.int64)) - 1  # of a text among the doubtful ones
            rows = tf.gather(number, tf.gather(tokens.rows, kept))
            pools = convolved_pools(served, tf.gather(tokens.composed, kept), rows, tf.shape(texts)[0])
            if served.narrow is not None:
                pools = tf.concat([tf.boolean_mask(tokens.pools, doubtful), pools], 1)
            return tf.tensor_scatter_nd_update(logits, texts, served.logits_of_pools(pools))

        return tf.cond(tf.reduce_any(doubtful), convolved, lambda: logits)
