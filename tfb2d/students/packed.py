"""An n-gram embedding whose table is stored as int8; `tfb2d/compress` makes one of a trained table."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.students.int8_table import CompressedTable
from tfb2d.students.layers import NGramEmbedding


@tf_keras.utils.register_keras_serializable("tfb2d")
class PackedNGramEmbedding(NGramEmbedding):
    """Looks up n-gram vectors in a `CompressedTable`; it cannot be trained.

    A row is gathered as int8 and then multiplied by its scale: a quarter of the float table's bytes are read. The scales
    are gathered flat and broadcast, which costs one op more than a `[rows, 1]` table of them and less time in batches.

    Args:
      rows: rows that are stored.
      remapped: whether ids go through a map to rows.
      buckets, dim, orders, window, dropout, seed, affixes, vocabulary: as of NGramEmbedding.

    Call arguments:
      hashes: ragged token hashes, `[batch, (tokens)]` int64.

    Returns:
      `[tokens of the whole batch, orders or window + affixes, dim]` float32.

    Example:
      >>> layer = PackedNGramEmbedding(rows=1000, remapped=True, buckets=2**18, dim=64, orders=(1, 2))
      >>> layer(TokenHashes(64)(tf.constant(["usb cable"])))  # [2, 2, 64]
    """

    def __init__(self, rows: int, remapped: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows
        self.remapped = remapped

    def build(self, shape: tf.TensorShape) -> None:
        """Makes empty weights of the stored form, and an empty vocabulary."""
        self._build_vocabulary()

        def weight(name: str, shape: tuple[int, ...], dtype: tf.DType) -> tf.Variable:
            return self.add_weight(name, shape, dtype, initializer="zeros", trainable=False)

        self.values = weight("values", (self.rows, self.dim), tf.int8)
        self.scale = weight("scale", (self.rows,), tf.float32)
        self.remap = weight("remap", (self.buckets,), tf.int32) if self.remapped else None
        tf_keras.layers.Layer.build(self, shape)

    def vectors(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the table's rows; see NGramEmbedding."""
        rows = ids if self.remap is None else tf.gather(self.remap, ids)
        return tf.cast(tf.gather(self.values, rows), tf.float32) * tf.gather(self.scale, rows)[..., None]

    @property
    def compressed(self) -> CompressedTable:
        """Returns the table as NumPy arrays."""
        remap = None if self.remap is None else np.asarray(self.remap)
        return CompressedTable(np.asarray(self.values), np.asarray(self.scale), remap)

    def assign(self, table: CompressedTable) -> None:
        """Copies a table of this layer's shape into the weights."""
        self.values.assign(table.values)
        self.scale.assign(table.scale)
        if self.remap is not None:
            self.remap.assign(table.remap)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rows": self.rows, "remapped": self.remapped}


def embedding(form: dict[str, Any] | None, **config: Any) -> NGramEmbedding:
    """Makes an NGramEmbedding of a `config`, or a packed one where a stored `form` (`rows`, `remapped`) is given."""
    return NGramEmbedding(**config) if form is None else PackedNGramEmbedding(**form, **config)
