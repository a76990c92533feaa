"""MPNet, an encoder family that KerasHub does not have: BERT with relative positions in its attention.

Registered with Keras, so that `keras_hub.models.TextClassifier.from_preset` finds it in the folder of a saved teacher;
`mpnet_weights.py` reads the Hugging Face form. The layers compute q, k and v in a single product. Keras' fused operator
computes attention; the torch backend turns it into a single kernel.

Reference: Song et al. 2020 (arXiv 2004.09297); the buckets of relative positions are those of T5 (Raffel et al. 2020,
arXiv 1910.10683, section 2.1).
"""

from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

FAR = 128  # tokens; all distances from here on share a bucket


def relative_buckets(length: int, buckets: int) -> np.ndarray:
    """Computes the bucket of the distance from each position to each other, int32 [length, length].

    Half of the buckets are for positions before, half for those after. Of each half the first half holds a single distance
    per bucket; the others grow with its logarithm up to `FAR`.
    """
    before = np.arange(length)[:, None] - np.arange(length)
    half = buckets // 2
    exact = half // 2
    distance = np.abs(before)
    grown = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.log(FAR / exact) * (half - exact)
    far = np.minimum(exact + grown.astype(np.int32), half - 1)
    return ((before < 0) * half + np.where(distance < exact, distance, far)).astype(np.int32)


@keras.saving.register_keras_serializable("tfb2d")
class MPNetAttentionBias(keras.layers.Layer):
    """Computes the bias of attention's logits: a learnt number per head and bucket of distance, and -1e9 at padding.

    Args:
      num_heads: attention heads.
      num_buckets: buckets of distance.
      max_sequence_length: positions.

    Call arguments:
      padding_mask: int [batch, length], 0 at padding.

    Returns:
      float [batch, heads, length, length], in the layer's compute type.
    """

    def __init__(self, num_heads: int, num_buckets: int, max_sequence_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_sequence_length = max_sequence_length
        self._buckets = relative_buckets(max_sequence_length, num_buckets)

    def build(self, input_shape: Any) -> None:
        """Makes the table of biases [buckets, heads]."""
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=(self.num_buckets, self.num_heads), initializer=normal, name="table")

    def call(self, padding_mask: Any) -> Any:
        """Computes the bias; see the class."""
        length = ops.shape(padding_mask)[1]
        biases = ops.take(self.table, ops.convert_to_tensor(self._buckets)[:length, :length], axis=0)
        padding = (1.0 - ops.cast(padding_mask, self.compute_dtype)) * -1e9
        return ops.transpose(biases, (2, 0, 1))[None] + padding[:, None, None, :]

    def compute_output_shape(self, mask_shape: Any) -> Any:
        """Returns [batch, heads, length, length]."""
        rows, length = mask_shape
        return rows, self.num_heads, length, length

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = ("num_heads", "num_buckets", "max_sequence_length")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("tfb2d")
class MPNetLayer(keras.layers.Layer):
    """A Transformer layer, normalised after each half as BERT's is. Attention's weights have no dropout.

    Args:
      num_heads: attention heads.
      hidden_dim: width of a token's state.
      intermediate_dim: width between the two dense layers.
      dropout: share of each half's output left out in training.

    Call arguments:
      states: float [batch, length, hidden_dim].
      bias: float [batch, heads, length, length], see `MPNetAttentionBias`.

    Returns:
      Like `states`.
    """

    def __init__(
        self, num_heads: int, hidden_dim: int, intermediate_dim: int, dropout: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        dtype = self.dtype_policy
        self.query_key_value = _dense(3 * hidden_dim, dtype, "query_key_value")
        self.attention_output = _dense(hidden_dim, dtype, "attention_output")
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="attention_norm")
        self.intermediate = _dense(intermediate_dim, dtype, "intermediate")
        self.activation = keras.layers.Activation("gelu", dtype=dtype, name="activation")
        self.output_dense = _dense(hidden_dim, dtype, "output_dense")
        self.output_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="output_norm")
        self.drop = keras.layers.Dropout(dropout, dtype=dtype, name="drop")

    def build(self, states_shape: Any, bias_shape: Any = None) -> None:
        """Builds the layers."""
        states, inner = (None, None, self.hidden_dim), (None, None, self.intermediate_dim)
        for layer in (self.query_key_value, self.attention_output, self.attention_norm, self.intermediate):
            layer.build(states)
        self.output_dense.build(inner)
        self.output_norm.build(states)

    def call(self, states: Any, bias: Any, training: bool = False) -> Any:
        """Computes the next states; see the class."""
        rows, length = ops.shape(states)[0], ops.shape(states)[1]
        heads = (rows, length, self.num_heads, self.hidden_dim // self.num_heads)
        q, k, v = (ops.reshape(part, heads) for part in ops.split(self.query_key_value(states), 3, axis=-1))
        attended = ops.reshape(ops.dot_product_attention(q, k, v, bias=bias), (rows, length, self.hidden_dim))
        states = self.attention_norm(states + self.drop(self.attention_output(attended), training=training))
        changed = self.output_dense(self.activation(self.intermediate(states)))
        return self.output_norm(states + self.drop(changed, training=training))

    def compute_output_shape(self, states_shape: Any, bias_shape: Any = None) -> Any:
        """Returns the shape of `states`."""
        return states_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = ("num_heads", "hidden_dim", "intermediate_dim", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("tfb2d")
class MPNetBackbone(keras_hub.models.Backbone):
    """MPNet's encoder.

    Inputs are `token_ids` and `padding_mask`, int32 [batch, length]. The output is each token's last state, float
    [batch, length, hidden_dim]. The constructor's arguments are those of KerasHub's encoders, and `num_buckets`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_buckets: int = 32,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token_embedding = keras_hub.layers.ReversibleEmbedding(
            vocabulary_size, hidden_dim, embeddings_initializer=normal, dtype=dtype, name="token_embedding"
        )
        self.position_embedding = keras_hub.layers.PositionEmbedding(
            max_sequence_length, initializer=normal, dtype=dtype, name="position_embedding"
        )
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.attention_bias = MPNetAttentionBias(
            num_heads, num_buckets, max_sequence_length, dtype=dtype, name="attention_bias"
        )
        self.transformer_layers = [
            MPNetLayer(num_heads, hidden_dim, intermediate_dim, dropout, dtype=dtype, name=f"transformer_layer_{i}")
            for i in range(num_layers)
        ]

        # === Functional model ===
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
        states = self.token_embedding(token_ids)
        states = self.embeddings_layer_norm(states + self.position_embedding(states))
        states = self.embeddings_dropout(states)
        bias = self.attention_bias(padding_mask)
        for layer in self.transformer_layers:
            states = layer(states, bias)
        super().__init__(
            inputs={"token_ids": token_ids, "padding_mask": padding_mask}, outputs=states, dtype=dtype, **kwargs
        )

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.max_sequence_length = max_sequence_length
        self.num_buckets = num_buckets

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        shape = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
        own = (*shape, "dropout", "num_buckets")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("tfb2d")
class MPNetTokenizer(keras_hub.tokenizers.WordPieceTokenizer):
    """BERT's WordPiece with MPNet's special tokens; `vocabulary` is a list of tokens, or a file with one a line."""

    backbone_cls = MPNetBackbone

    def __init__(
        self, vocabulary: Any = None, lowercase: bool = True, strip_accents: bool = True, **kwargs: Any
    ) -> None:
        for token, name in (("<s>", "start"), ("</s>", "end"), ("<pad>", "pad"), ("<mask>", "mask")):
            self._add_special_token(token, f"{name}_token")
        super().__init__(vocabulary=vocabulary, lowercase=lowercase, strip_accents=strip_accents, **kwargs)


@keras.saving.register_keras_serializable("tfb2d")
class MPNetTextClassifierPreprocessor(keras_hub.models.RobertaTextClassifierPreprocessor):
    """Tokenizes and packs text for MPNet, which reads what RoBERTa does: `<s> first </s></s> second </s>`, no segments."""

    backbone_cls = MPNetBackbone
    tokenizer_cls = MPNetTokenizer


@keras.saving.register_keras_serializable("tfb2d")
class MPNetTextClassifier(keras_hub.models.TextClassifier):
    """MPNet with two dense layers on the first token's state, each after dropout.

    Args:
      backbone: an `MPNetBackbone`.
      num_classes: logits.
      preprocessor: an `MPNetTextClassifierPreprocessor`.
      dropout: share of the dense layers' inputs left out in training.
    """

    backbone_cls = MPNetBackbone
    preprocessor_cls = MPNetTextClassifierPreprocessor

    def __init__(
        self, backbone: Any, num_classes: int, preprocessor: Any = None, dropout: float = 0.1, **kwargs: Any
    ) -> None:
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        dtype = backbone.dtype_policy
        self.pooled_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="pooled_dropout")
        self.pooled_dense = _dense(backbone.hidden_dim, dtype, "pooled_dense", "tanh")
        self.output_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="output_dropout")
        self.output_dense = _dense(num_classes, dtype, "logits")

        # === Functional model ===
        inputs = backbone.input
        pooled = self.pooled_dense(self.pooled_dropout(backbone(inputs)[:, 0, :]))
        super().__init__(inputs=inputs, outputs=self.output_dense(self.output_dropout(pooled)), **kwargs)

        # === Config ===
        self.num_classes = num_classes
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "dropout": self.dropout}


def _dense(width: int, dtype: Any, name: str, activation: str | None = None) -> keras.layers.Dense:
    """Makes a dense layer that starts as BERT's do."""
    normal = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(width, activation, kernel_initializer=normal, dtype=dtype, name=name)
