"""The student as it is served: the same logits as `Student.trunk`, from far fewer and larger ops.

Training needs gradients, dropout and cached hashes. Serving must be fast, and at batch 1 the number of ops decides. So the
student's arithmetic is written a second time here, from the weights of a trained student. Tests compare it with the trunk.
It differs in these ways:

* query and titles are hashed as one batch of texts, and their n-grams are pooled by one `SparseSegmentSqrtN`, which reads
  table rows without gathering them first (`served_tokens`);
* features that are sums of others are multiplied out of the first dense layer's weights: the pool of unmatched n-grams is
  the pool of all less the matched, and so is the query's;
* rows of the soft-match table have length 1 already;
* the rows of composed n-grams are read once for each distinct token of a batch, and texts on which an early exit is certain
  do not go through the convolutions (`served_composed`);
* one query with its titles (a ranking, or a single pair) has a graph of its own (`served_pairs`). Nothing is padded there,
  the query's tokens are compared with all title tokens at once, and rows are gathered before they are pooled;
* biases are subtracted, negated: a bias that is added becomes part of oneDNN's matmul, which takes twice as long for one
  row.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfb2d.students.model import Student
from tfb2d.students.pairs import LOG_SCALE, Kernels
from tfb2d.students.served_composed import ComposedTexts
from tfb2d.students.served_pairs import pair_features, query_features
from tfb2d.students.served_tokens import Table, Tokens
from tfb2d.students.spelling_graph import Spelling


class ServedStudent(tf.Module):
    """Computes a trained student's logits from strings; see the module.

    Tables and the kernels of convolutions are shared with the student, dense layers are copied into constants.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.task, self.config = student.task, student.config
        self.table = Table(student.ngrams)
        self.soft = Table(student.kernels.embedding, unit=True) if student.kernels else None
        self.composed = ComposedTexts(student, self.table) if self.config.window else None
        self.spelling = Spelling(student.dictionary) if student.dictionary else None
        self.matched = student.matched is not None
        self.layers = [(dense.kernel.numpy(), -dense.bias.numpy()) for dense in student.denses]
        self.bias = -student.first_dense.bias.numpy()
        if student.query_dense is None:
            self.kernel = student.first_dense.kernel.numpy()
            return
        self.near = Kernels(self.config.kernels)
        self.query_kernel = student.query_dense.kernel.numpy()
        self._fold(student.first_dense.kernel.numpy())
        # A function, and outside of the branches: a saved model holds its weights once, not in every branch of every
        # signature. It is inlined where it is called.
        shapes = [tf.TensorSpec([None, kernel.shape[0]]) for kernel in (student.query_dense.kernel, self.kernel)]
        self.dense = tf.function(self._dense, input_signature=shapes, autograph=False)
        queries = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)]
        apart = {"_noinline": True}  # one op of a branch that is seldom taken: ops that are not run cost steps, too
        self.rankings = tf.function(
            self._rankings, input_signature=queries, autograph=False, experimental_attributes=apart
        )

    @property
    def tables(self) -> list[tf.Variable]:
        """Lists all variables that the served graph reads."""
        parts = (self.table, self.soft, self.composed, self.spelling)
        return [weight for part in parts if part is not None for weight in part.weights]

    def logits(self, texts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Computes logits `[batch, n_logits]` float32 of texts: one `[batch]` string tensor a field."""
        if self.composed:
            return self.composed.logits(texts[0], self._dense_of_text)
        if len(texts) == 1:
            return self._dense_of_text(Tokens(self, texts[0]).pools)
        one_title = tf.equal(tf.size(texts[1]), 1)
        return self.dense(
            *tf.cond(one_title, lambda: query_features(self, *texts), lambda: pair_features(self, *texts))
        )

    def rank(self, query: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """Computes logits of queries `[batch]` and titles `[batch, n]`; each query is read once.

        Returns `[batch * n, n_logits]`, a query's titles after those of the one before.
        """
        # The first query is outside of any branch, as mostly there is no other. "" stands for it where there is none.
        first = self.dense(*query_features(self, tf.concat([query, [""]], 0)[:1], tf.reshape(titles[:1], [-1])))
        none = tf.zeros([0, self.task.n_logits])
        others = tf.cond(tf.size(query) > 1, lambda: self.rankings(query[1:], titles[1:]), lambda: none)
        return tf.concat([first, others], 0)

    def _rankings(self, query: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        # Not a loop over the queries: a graph with one is not run in the caller's thread (`serving.server.session`).
        owners = tf.repeat(tf.range(tf.size(query)), tf.shape(titles)[1])
        return self.dense(*pair_features(self, query, tf.reshape(titles, [-1]), owners))

    def _dense_of_text(self, pools: tf.Tensor) -> tf.Tensor:
        return self._later_layers(tf.matmul(pools, self.kernel) - self.bias)

    def _dense(self, query_pool: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        hidden = tf.matmul(features, self.kernel) - (self.bias - tf.matmul(query_pool, self.query_kernel))
        return self._later_layers(hidden)

    def _later_layers(self, hidden: tf.Tensor) -> tf.Tensor:
        for kernel, bias in self.layers:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) - bias
        return hidden

    def _fold(self, rows: np.ndarray) -> None:
        """Brings the first dense layers' weights into the form for the features that the served graph makes of pairs."""
        dim, orders, kernels = self.config.dim, len(self.config.orders), self.config.kernels
        used = dim * (1 + self.config.products + self.config.differences)
        plain, compared = rows[:used].copy(), rows[used:]
        folded = [plain]
        if self.matched:
            matched, unmatched, missing, shares, compared = np.split(compared, np.cumsum([dim, dim, dim, 2 * orders]))
            plain[:dim] += unmatched  # unmatched = title - matched
            self.query_kernel = self.query_kernel + missing  # missing = query - its matched
            folded += [matched - unmatched, -missing, shares * orders]  # served as shares of n-grams of all orders
        if self.soft:
            folded += [compared[:kernels] * (LOG_SCALE / math.log(2)), compared[kernels:] / math.log(2)]
        self.kernel = np.concatenate(folded)


def scores_and_logits(logits: tf.Tensor, scale: float, bias: Sequence[float]) -> dict[str, tf.Tensor]:
    """Calibrates logits `[batch, k]`: `sigmoid(scale * logit + bias)`, or softmax over k > 1 classes.

    Returns `score` and `logit` as they are served: `[batch]` of one logit a row, else `[batch, k]`.
    """
    calibrated = scale * logits + np.asarray(bias, np.float32)
    if len(bias) > 1:
        return {"score": tf.nn.softmax(calibrated), "logit": logits}
    return {"score": tf.squeeze(tf.sigmoid(calibrated), -1), "logit": tf.squeeze(logits, -1)}
