"""A student's logits as a graph over padded n-gram ids, of ops that TensorFlow Lite has built in.

It is written here anew from the student's weights; `tests/compress/test_tflite.py` holds it against the student.
"""

import itertools
import math

import numpy as np
import tensorflow as tf

from tfb2d.students.composed import convolution
from tfb2d.students.int8_table import CompressedTable, quantise
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.model import Student

FORMS = ("int8", "float")
_NUMBERS = itertools.count()


class EdgeTable:
    """Rows of a table for padded ids.

    In the graph stand small arrays instead of the large ones, which the converter would copy time and again; `swaps` says
    which array belongs in the place of which.

    Args:
      table: a CompressedTable, or `[buckets, dim]` float32.
      pads: zero rows behind the table; the id `buckets + i` is padding of field i.
      normalised: rows have length 1 (or 0), as soft matching compares them.
    """

    def __init__(self, table: CompressedTable | np.ndarray, pads: int, normalised: bool = False) -> None:
        self.swaps: list[tuple[np.ndarray, np.ndarray]] = []
        if isinstance(table, CompressedTable):
            values, scale, remap = table.values, table.scale[:, None], table.remap
        else:
            values, scale, remap = table, None, None
        if normalised:
            rows = values.astype(np.float32) if scale is None else values * scale
            length = np.sqrt(np.maximum(np.square(rows).sum(1, keepdims=True), 1e-8))
            values, scale = (values / length, None) if scale is None else (values, scale / length)
        self._values = self._stand_in(np.pad(values, [(0, pads), (0, 0)]))
        self._scale = None if scale is None else self._stand_in(np.pad(scale, [(0, pads), (0, 0)]))
        self._remap = None
        if remap is not None:
            self._remap = self._stand_in(np.append(remap, len(values) + np.arange(pads)).astype(np.int32))

    def _stand_in(self, large: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(next(_NUMBERS))  # equal constants would become one
        small = drawn.integers(1, 100, (64, *large.shape[1:])).astype(large.dtype)
        self.swaps.append((small, large))
        return small

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """`[..., dim]` float32 for int32 ids of any shape."""
        rows = ids if self._remap is None else tf.gather(self._remap, ids)
        values = tf.gather(self._values, rows)
        return values if self._scale is None else tf.cast(values, tf.float32) * tf.gather(self._scale, rows)


def edge_table(layer: NGramEmbedding, form: str) -> CompressedTable | np.ndarray:
    """A layer's table as the edge form stores it: what is compressed stays as it is, the rest by `form`."""
    compressed = getattr(layer, "compressed", None)
    if compressed is not None:
        return compressed
    rows = layer.vectors(tf.range(layer.buckets)).numpy()
    return quantise(rows) if form == "int8" else rows


class EdgeGraph:
    """A student's logits from padded ids.

    Inputs are int32. For each field `[batch, positions, orders]` (the window's width instead of orders where n-grams are
    composed), where `buckets + i` pads field i; for soft matching also, of each field, `[batch, positions]` ids of its own
    table, padded alike. A query's batch may be 1: it goes with all titles.

    Args:
      student: a trained one.
      form: "int8" (int8 tables) or "float" (tables as the student has them).
    """

    def __init__(self, student: Student, form: str) -> None:
        if form not in FORMS:
            raise ValueError(f"form {form!r}; there are {', '.join(FORMS)}")
        self.student = student
        self.fields = len(student.task.fields)
        config = student.config
        self.width = config.window + len(config.affixes) if config.window else len(config.orders)
        self.bias, self.convolutions = None, []
        if student.config.window:
            self.bias = student.pool.bias.numpy()
            kernels = [[kernel.numpy() for kernel in one] for one in student.pool.kernels]
            self.convolutions = list(zip(student.config.convolutions, kernels, strict=True))
        self.query_kernel = student.query_dense.kernel.numpy() if student.query_dense else None
        self.dense = [(dense.kernel.numpy(), dense.bias.numpy()) for dense in (student.first_dense, *student.denses)]
        self.table = EdgeTable(edge_table(student.ngrams, form), self.fields)
        self.soft = None
        if student.kernels:
            self.soft = EdgeTable(edge_table(student.kernels.embedding, form), self.fields, normalised=True)

    @property
    def swaps(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The arrays of all tables that stand in the graph, each with the one that belongs there."""
        return self.table.swaps + (self.soft.swaps if self.soft else [])

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs by name."""
        names = self.student.task.fields
        inputs = {name: tf.TensorSpec([None, None, self.width], tf.int32, name=name) for name in names}
        if self.soft:
            inputs |= {f"{name}_soft": tf.TensorSpec([None, None], tf.int32, name=f"{name}_soft") for name in names}
        return inputs

    def __call__(self, **ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`logit`: `[batch, n_logits]` float32."""
        student = self.student
        *query, title = (ids[name] for name in student.task.fields)
        title_vectors = self.table(title)
        title_sum, title_count = tf.reduce_sum(title_vectors, [1, 2]), self._count(title, self.fields - 1)
        title_pool = title_sum * tf.math.rsqrt(title_count)
        if self.bias is not None:
            title_pool = self._composed(title, title_vectors)
        features, hidden = [title_pool], None
        if self.query_kernel is not None:
            query_vectors = self.table(query[0])
            query_sum, query_count = tf.reduce_sum(query_vectors, [1, 2]), self._count(query[0], 0)
            query_pool = query_sum * tf.math.rsqrt(query_count)
            hidden = tf.matmul(query_pool, self.query_kernel)
            if student.config.products:
                features.append(query_pool * title_pool)
            if student.config.differences:
                features.append(tf.abs(query_pool - title_pool))
            if student.matched:
                equal = tf.equal(tf.expand_dims(query[0], 2), tf.expand_dims(title, 1))
                in_query, in_title = (tf.cast(tf.reduce_any(equal, axis), tf.float32) for axis in (1, 2))
                matched = _weighted_sum(title_vectors, in_query)
                features += [matched * tf.math.rsqrt(title_count), (title_sum - matched) * tf.math.rsqrt(title_count)]
                features.append((query_sum - _weighted_sum(query_vectors, in_title)) * tf.math.rsqrt(query_count))
                features += [tf.reduce_sum(in_query, 1) / title_count * self.width]
                features += [tf.reduce_sum(in_title, 1) / query_count * self.width]
            if self.soft:
                features.append(self._kernels(self.soft, *(ids[f"{name}_soft"] for name in student.task.fields)))
        (kernel, bias), *rest = self.dense
        together = tf.concat(features, -1) if len(features) > 1 else title_pool
        if together.shape[1] != len(kernel):
            raise ValueError(f"the edge form knows {together.shape[1]} features, this student has {len(kernel)}")
        first = tf.matmul(together, kernel) + bias
        hidden = first if hidden is None else hidden + first
        for kernel, bias in rest:
            hidden = tf.matmul(tf.nn.relu(hidden), kernel) + bias
        return {"logit": hidden}

    def _count(self, ids: tf.Tensor, field: int) -> tf.Tensor:
        """n-grams of each text, at least 1: `[batch, 1]`."""
        there = tf.cast(tf.not_equal(ids, self.student.config.buckets + field), tf.float32)
        return tf.maximum(tf.expand_dims(tf.reduce_sum(there, [1, 2]), 1), 1.0)

    def _composed(self, ids: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        """`ComposedPool`, `[batch, dim]`."""
        there = tf.cast(tf.not_equal(ids[:, :, :1], self.student.config.buckets), tf.float32)  # [batch, positions, 1]
        composed = tf.nn.relu(tf.reduce_sum(vectors, 2) + self.bias) * there
        positions, dim = tf.shape(composed)[1], composed.shape[2]
        for dilation, kernels in self.convolutions:
            padded = tf.pad(composed, [[0, 0], [dilation, dilation], [0, 0]])
            near = [padded[:, start : start + positions] for start in (0, dilation, 2 * dilation)]
            added = convolution(tf.reshape(tf.concat(near, 2), [-1, 3 * dim]), kernels)
            composed += tf.reshape(added, tf.shape(composed)) * there
        if self.student.config.convolution_width:
            composed = tf.nn.relu(composed)
        return tf.reduce_sum(composed, 1) * tf.math.rsqrt(tf.maximum(tf.reduce_sum(there, 1), 1.0))

    def _kernels(self, table: EdgeTable, query: tf.Tensor, title: tf.Tensor) -> tf.Tensor:
        """`KernelPooling`, `[batch, 2 * kernels]`."""
        kernels, buckets = self.student.config.kernels, self.student.config.soft_buckets
        step = 2.0 / max(kernels - 1, 1)
        centres = np.array([1.0] + [1.0 - step * (k + 0.5) for k in range(kernels - 1)], np.float32)
        widths = np.array([1e-3] + [step / 2] * (kernels - 1), np.float32)
        query_vectors, title_vectors = (table(ids) for ids in (query, title))
        cosine = tf.matmul(query_vectors, title_vectors, transpose_b=True)
        in_query = tf.cast(tf.not_equal(query, buckets), tf.float32)
        in_title = tf.cast(tf.not_equal(title, buckets + 1), tf.float32)
        near = tf.exp(tf.square(tf.expand_dims(cosine, 3) - centres) * (-1 / (2 * widths**2)))
        found = tf.reduce_sum(near * tf.expand_dims(tf.expand_dims(in_title, 1), 3), 2)  # [batch, positions, kernels]
        logs = tf.reduce_sum(tf.math.log(found + 1.0) * tf.expand_dims(in_query, 2), 1) / math.log(2)
        mean = logs / tf.maximum(tf.expand_dims(tf.reduce_sum(in_query, 1), 1), 1.0)
        return tf.concat([0.1 * logs, mean], -1)


def _weighted_sum(vectors: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`[batch, positions, orders, dim]` by `[batch, positions, orders]`, summed: `[batch, dim]`."""
    return tf.reduce_sum(vectors * tf.expand_dims(weights, 3), [1, 2])
