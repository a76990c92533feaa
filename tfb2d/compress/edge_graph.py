"""A student's logits as a graph over padded n-gram ids, of ops that TensorFlow Lite has built in.

The arithmetic is the trained student's own, `Student.logits_of`. This module makes what it reads.
"""

import numpy as np
import tensorflow as tf

from tfb2d.students.int8_table import CompressedTable, quantise
from tfb2d.students.layers import NGramEmbedding
from tfb2d.students.layout import PaddedTexts
from tfb2d.students.model import Student
from tfb2d.students.pairs import Field

FORMS = ("int8", "float")


class EdgeTable:
    """Reads rows of a CompressedTable, or of one of `[buckets, dim]` float32, for padded ids.

    The arrays are variables, which the converter freezes by itself. As constants of the graph it would copy them time and
    again: 22 s and 4.8 GB instead of 2.9 s and 1.7 GB for a float table of 2^18 x 64.

    After the table come `pads` rows of zeros; the id `buckets + i` is padding of field i. `unit` brings rows to
    length 1, as soft matching compares them.
    """

    def __init__(self, table: CompressedTable | np.ndarray, pads: int, unit: bool = False) -> None:
        if isinstance(table, CompressedTable):
            values, scale, remap = table.values, table.scale[:, None], table.remap
        else:
            values, scale, remap = table, None, None
        if unit:
            rows = values.astype(np.float32) if scale is None else values * scale
            length = np.sqrt(np.maximum(np.square(rows).sum(1, keepdims=True), 1e-8))
            values, scale = (values / length, None) if scale is None else (values, scale / length)
        behind = [(0, pads), (0, 0)]
        self.values = tf.Variable(np.pad(values, behind), trainable=False)
        self.scale = None if scale is None else tf.Variable(np.pad(scale, behind), trainable=False)
        self.remap = None
        if remap is not None:
            rows = np.append(remap, len(values) + np.arange(pads)).astype(np.int32)
            self.remap = tf.Variable(rows, trainable=False)

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns `[..., dim]` float32 for int32 ids of any shape."""
        rows = ids if self.remap is None else tf.gather(self.remap, ids)
        values = tf.gather(self.values, rows)
        return values if self.scale is None else tf.cast(values, tf.float32) * tf.gather(self.scale, rows)


def edge_table(layer: NGramEmbedding, form: str) -> CompressedTable | np.ndarray:
    """Returns a layer's table as the edge form stores it: a compressed one as it is, a float one as `form` says."""
    compressed = getattr(layer, "compressed", None)
    if compressed is not None:
        return compressed
    rows = layer.vectors(tf.range(layer.buckets)).numpy()
    return quantise(rows) if form == "int8" else rows


class EdgeGraph:
    """Computes a trained student's logits from padded ids; tables are int8 or as the student has them, by `form`.

    Inputs are int32. Each field has ids `[batch, positions, orders]`, or `[batch, positions, window + affixes]` where
    n-grams are composed; `buckets + i` pads field i. Soft matching adds ids `[batch, positions]` of its own table for each
    field, padded alike. A query's batch may be 1: it goes with all titles.
    """

    def __init__(self, student: Student, form: str) -> None:
        if form not in FORMS:
            raise ValueError(f"form {form!r}; there are {', '.join(FORMS)}")
        self.student = student
        self.names = student.task.fields
        config = student.config
        self.width = config.window + len(config.affixes) if config.window else len(config.orders)
        self.table = EdgeTable(edge_table(student.ngrams, form), len(self.names))
        self.soft = None
        if student.kernels:
            self.soft = EdgeTable(edge_table(student.kernels.embedding, form), len(self.names), unit=True)

    @property
    def signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the inputs by name."""
        inputs = {name: tf.TensorSpec([None, None, self.width], tf.int32, name=name) for name in self.names}
        if self.soft:
            for name in self.names:
                inputs[f"{name}_soft"] = tf.TensorSpec([None, None], tf.int32, name=f"{name}_soft")
        return inputs

    def __call__(self, **ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `logit`: `[batch, n_logits]` float32."""
        fields = [self._field(ids[name], index) for index, name in enumerate(self.names)]
        units, pairs = [], None
        if self.soft:
            units = [self.soft(ids[f"{name}_soft"]) for name in self.names]
            pairs = tf.expand_dims(fields[1].texts.mask(), 1)
        return {"logit": self.student.logits_of(fields, units, pairs)}

    def _field(self, ids: tf.Tensor, index: int) -> Field:
        present = tf.cast(tf.not_equal(ids[:, :, 0], self.student.config.buckets + index), tf.float32)
        texts = PaddedTexts(present)
        return Field(texts, ids, self.student.pool.compose(self.table(ids), texts))
