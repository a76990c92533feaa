"""An early exit: a cheap output decides the texts of which it is certain, and only the others go through the convolutions.

Both outputs share tokens, rows and composed n-grams, and are trained together: the loss is the mean of theirs. Each is
calibrated on validation rows. There the threshold is chosen, too: as many texts exit as a stated log loss allows.

Reference: early exits of BranchyNet (Teerapittayanon et al. 2016, arXiv 1709.01686); calibrated cascades of classifiers as
in Viola and Jones 2001.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.evaluation.calibration import calibrate
from tfb2d.probability import one_column

if TYPE_CHECKING:
    from tfb2d.students.model import Student
    from tfb2d.students.rows import TrainingRows

NEVER = float(np.finfo(np.float32).max)  # a threshold that no margin reaches


@tf_keras.utils.register_keras_serializable("tfb2d")
class EarlyExit(tf_keras.layers.Layer):
    """Chooses between a text's cheap logits and its full ones.

    `scale * cheap + bias` puts the cheap logits on the scale of the full ones, so that one calibration is right for both.
    They count where their margin reaches the threshold. The margin is the distance from the point where the calibrated
    score is 0.5; of several classes, that of the best from the second. A new layer lets no text exit.

    Call arguments:
      cheap: `[batch, k]` float32.
      full: likewise.

    Returns:
      `[batch, k]` float32 logits. While training, `[2 * batch, k]`: the full ones, then the cheap ones, as both are learnt.

    Example:
      >>> EarlyExit()(tf.constant([[3.0], [0.1]]), tf.constant([[2.0], [-1.0]]))  # the full ones: [[2.0], [-1.0]]

    Reference: see the module.
    """

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the numbers that `fit` learns; none of them is trained by gradients."""

        def weight(name: str, shape: tuple[int, ...], value: float) -> tf.Variable:
            start = tf_keras.initializers.Constant(value)
            return self.add_weight(name, shape, initializer=start, trainable=False)

        self.scale = weight("scale", (), 1.0)
        self.bias = weight("bias", (shape[-1],), 0.0)
        self.centre = weight("centre", (shape[-1],), 0.0)  # what calibration adds to full logits, on their scale
        self.threshold = weight("threshold", (), NEVER)
        super().build(shape)

    def call(self, cheap: tf.Tensor, full: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the layer; see the class."""
        if training:
            return tf.concat([full, cheap], 0)
        logits, exits = self.decide(cheap)
        return tf.where(tf.expand_dims(exits, 1), logits, full)

    def decide(self, cheap: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns cheap logits on the full ones' scale, `[batch, k]`, and which texts exit, `[batch]` bool."""
        values = self.scale * cheap + self.bias
        return values - self.centre, margins(values) >= self.threshold

    def numbers(self) -> list[np.ndarray]:
        """Returns scale, bias, centre and threshold."""
        return [weight.numpy() for weight in (self.scale, self.bias, self.centre, self.threshold)]


def margins(values: tf.Tensor) -> tf.Tensor:
    """Returns how far each row `[batch, k]` is from another decision: `[batch]`, 0 or more."""
    if values.shape[-1] == 1:
        return tf.abs(values[:, 0])
    best = tf.math.top_k(values, 2).values
    return best[:, 0] - best[:, 1]


def fit(student: "Student", valid: "TrainingRows", labels: np.ndarray) -> float:
    """Calibrates a trained student's two outputs, and chooses the threshold that lets as many texts exit as is allowed.

    `valid` are rows that the student did not learn from, with `labels` `[n]` as `calibrate` takes them. Returns the
    share of these rows that exit.
    """
    assert student.exit is not None
    assert student.paths is not None
    read = tf.function(lambda hashes: student.paths(hashes, training=False), reduce_retracing=True)
    parts = [read(valid.batch(index)[0]) for index in valid.batches(1024)]
    cheap, full = (np.concatenate([part[side].numpy() for part in parts]) for side in (0, 1))
    ours, theirs = (calibrate(student.task, labels, one_column(logits)) for logits in (cheap, full))
    scale = np.float32(ours.scale / theirs.scale)
    bias, centre = (np.array(each.bias, np.float32) / theirs.scale for each in (ours, theirs))
    cost = row_losses(ours.scale * cheap + np.array(ours.bias), labels)
    cost -= row_losses(theirs.scale * full + np.array(theirs.bias), labels)
    margin = margins(tf.constant(scale * cheap + bias, tf.float32)).numpy()
    threshold = lowest_margin(margin, cost, student.config.early_exit)
    for weight, value in zip(student.exit.weights, (scale, bias, centre, threshold), strict=True):
        weight.assign(value)
    return float(np.mean(margin >= threshold))


def lowest_margin(margin: np.ndarray, cost: np.ndarray, allowed: float) -> float:
    """Returns the lowest margin from which on texts may exit; `cost` is what each row's log loss grows by if it does.

    Rows exit in the order of their margins, and stop before their mean cost, over all rows, first passes what is allowed.
    """
    order = np.argsort(-margin, kind="stable")
    mean = np.cumsum(cost[order]) / max(1, len(cost))
    n = int(np.argmax(mean > allowed)) if np.any(mean > allowed) else len(mean)
    # Rows of equal margins exit together.
    while 0 < n < len(mean) and margin[order[n]] == margin[order[n - 1]]:
        n -= 1
    return float(margin[order[n - 1]]) if n else NEVER


def row_losses(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the log loss of each row's calibrated logits `[n, k]`, in nats."""
    if values.shape[1] == 1:
        return np.logaddexp(0, values[:, 0]) - labels * values[:, 0]
    from scipy.special import log_softmax

    return -log_softmax(values, axis=1)[np.arange(len(values)), labels.astype(np.int64)]
