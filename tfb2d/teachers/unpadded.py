"""Computes the logits of BERT and its relatives without padding, in operations that TensorFlow fuses.

KerasHub's own forward pass spends more than half of its time outside of matrix products on a CPU (docs/performance.md).
This one differs in four points and gives the same logits, up to rounding:

* Dense layers see the real tokens of all rows, one after another. Rows are padded for the attention alone.
* Query, key and value are one product. Bias, activation and residual are written so that TensorFlow makes them part of the
  product before them.
* The last layer computes nothing but each row's first token, which is all that a classifier reads.
* Weights are brought into the form and precision of the products once for many batches.

Reference: the same idea on GPUs is ByteTransformer's padding-free algorithm (https://arxiv.org/abs/2210.03052).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_hub
import numpy as np

from tfb2d.teachers.electra import ElectraTextClassifier

Inputs = Mapping[str, np.ndarray]

# Encoders whose layers are `keras_hub.layers.TransformerEncoder`, and which classify the first token.
CLASSIFIERS = (
    keras_hub.models.BertTextClassifier,
    keras_hub.models.DistilBertTextClassifier,
    keras_hub.models.RobertaTextClassifier,
    keras_hub.models.XLMRobertaTextClassifier,
    ElectraTextClassifier,
)
# How KerasHub's layers name their activation, and whether it is the approximation by tanh.
GELU_IS_APPROXIMATE = {"gelu": False, "keras_hub>gelu_approximate": True}
MASKED = -3e4  # added to the attention to padding; representable in bfloat16, and its exponential is 0


def can_skip_padding(model: Any) -> bool:
    """Says whether `UnpaddedForward` can compute a classifier; otherwise its own forward pass must."""
    return (
        keras.backend.backend() == "tensorflow"
        and type(model) in CLASSIFIERS
        and bool(model.backbone.transformer_layers)
        and all(_is_known(layer) for layer in model.backbone.transformer_layers)
    )


class UnpaddedForward:
    """The forward pass of a classifier for which `can_skip_padding` holds; its weights may change later."""

    def __init__(self, model: Any) -> None:
        self._model, self._layers = model, model.backbone.transformer_layers
        self._embed = keras.Model(model.backbone.input, self._layers[0].input[0])
        # BERT and ELECTRA have this layer in the encoder, DistilBERT and RoBERTa in the classifier.
        self._pool = getattr(model.backbone, "pooled_dense", None) or model.pooled_dense

    def with_present_weights(self) -> Callable[[Inputs], np.ndarray]:
        """Returns a function from a batch of inputs, int32 [rows, length] each, to float32 logits [rows, n_logits].

        It keeps the weights that the model has now.
        """
        weights = self._weights()
        return lambda inputs: self._logits(dict(inputs), weights).numpy()

    @functools.cached_property
    def _weights(self) -> Any:
        import tensorflow as tf

        dtype = self._model.backbone.compute_dtype
        return tf.function(lambda: [_products(_named_weights(layer), dtype) for layer in self._layers], autograph=False)

    @functools.cached_property
    def _logits(self) -> Any:
        import tensorflow as tf

        inputs = {name: tf.TensorSpec([None, None], tf.int32, name) for name in self._model.input}
        weights = tf.nest.map_structure(tf.TensorSpec.from_tensor, self._weights())
        return tf.function(self._forward, input_signature=[inputs, weights], autograph=False)

    def _forward(self, inputs: Any, weights: list[dict[str, Any]]) -> Any:
        import tensorflow as tf

        real = inputs["padding_mask"] > 0
        embedded = self._embed(inputs, training=False)
        x = tf.boolean_mask(embedded, real)  # [tokens, width]
        in_x = tf.maximum(tf.reshape(tf.cumsum(tf.cast(tf.reshape(real, [-1]), tf.int32)), tf.shape(real)) - 1, 0)
        last = len(self._layers) - 1
        for i, (layer, of_layer) in enumerate(zip(self._layers, weights, strict=True)):
            x = _encode(layer, of_layer, x, real, in_x, first_only=i == last)
        return self._model.output_dense(self._pool(x))


def _encode(layer: Any, weights: Any, x: Any, real: Any, in_x: Any, first_only: bool) -> Any:
    """Computes a Transformer layer: [tokens, width] or, with `first_only`, each row's first token alone, [rows, width].

    Args:
      layer: a `keras_hub.layers.TransformerEncoder`, whose settings are used.
      weights: see `_products`.
      x: [tokens, width], the real tokens.
      real: bool [rows, length], which cells of the padded batch are tokens.
      in_x: int32 [rows, length], where in x each cell is; of padding any token.
    """
    import tensorflow as tf

    rows, length = tf.shape(real)[0], tf.shape(real)[1]
    heads, inner = layer.num_heads, weights["output"].shape[0]
    cells = tf.gather(tf.nn.bias_add(tf.matmul(x, weights["qkv"]), weights["qkv_bias"]), in_x)
    split = tf.transpose(tf.reshape(cells, [rows, length, 3, heads, inner // heads]), [2, 0, 3, 1, 4])
    query, key, value = split[0], split[1], split[2]  # [rows, heads, length, width of a head]
    if first_only:
        query, x = query[:, :, :1], tf.gather(x, in_x[:, 0])
    scale = tf.constant((inner // heads) ** -0.5, x.dtype)
    mask = tf.where(real, tf.constant(0, x.dtype), tf.constant(MASKED, x.dtype))[:, None, None, :]
    attention = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * scale + mask)
    mixed = tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3])
    mixed = tf.reshape(mixed, [rows, tf.shape(mixed)[1], inner])
    mixed = mixed[:, 0] if first_only else tf.boolean_mask(mixed, real)

    mixed = tf.nn.bias_add(tf.matmul(mixed, weights["output"]), weights["output_bias"]) + x
    x = _normalize(mixed, weights["norm"], layer.layer_norm_epsilon)
    up = tf.nn.bias_add(tf.matmul(x, weights["up"]), weights["up_bias"])
    up = tf.nn.gelu(up, approximate=GELU_IS_APPROXIMATE[_activation(layer)])
    down = tf.nn.bias_add(tf.matmul(up, weights["down"]), weights["down_bias"]) + x
    return _normalize(down, weights["last_norm"], layer.layer_norm_epsilon)


def _normalize(x: Any, weights: Any, epsilon: float) -> Any:
    """Applies layer normalization, computed in float32."""
    import tensorflow as tf

    values = tf.cast(x, tf.float32)
    values -= tf.reduce_mean(values, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(values), -1, keepdims=True)
    return tf.cast(values * tf.math.rsqrt(variance + epsilon) * weights[0] + weights[1], x.dtype)


_SIDES = [f"self_attention_layer/{side}" for side in ("query", "key", "value")]
_DENSE = {
    "output": "self_attention_layer/attention_output",
    "up": "feedforward_intermediate_dense",
    "down": "feedforward_output_dense",
}
_NORMS = {"norm": "self_attention_layer_norm", "last_norm": "feedforward_layer_norm"}
_WEIGHTS = {
    *(f"{name}/{part}" for name in (*_SIDES, *_DENSE.values()) for part in ("kernel", "bias")),
    *(f"{name}/{part}" for name in _NORMS.values() for part in ("gamma", "beta")),
}


def _products(named: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Returns a layer's weights as matrices and vectors: products in `dtype`, normalization in float32."""
    import tensorflow as tf

    width = named[f"{_SIDES[0]}/kernel"].shape[0]
    weights = {
        "qkv": tf.concat([tf.reshape(named[f"{side}/kernel"], [width, -1]) for side in _SIDES], 1),
        "qkv_bias": tf.concat([tf.reshape(named[f"{side}/bias"], [-1]) for side in _SIDES], 0),
        **{name: named[f"{layer}/kernel"] for name, layer in _DENSE.items()},
        **{f"{name}_bias": named[f"{layer}/bias"] for name, layer in _DENSE.items()},
    }
    weights["output"] = tf.reshape(weights["output"], [-1, width])
    return {
        **{name: tf.cast(weight, dtype) for name, weight in weights.items()},
        **{
            name: [tf.identity(named[f"{layer}/{part}"]) for part in ("gamma", "beta")]
            for name, layer in _NORMS.items()
        },
    }


def _named_weights(layer: Any) -> dict[str, Any]:
    """Returns a layer's variables under their paths within the layer."""
    return {weight.path.split(f"{layer.name}/")[-1]: weight for weight in layer.weights}


def _activation(layer: Any) -> str:
    name = layer.get_config()["activation"]
    return str(name["config"] if isinstance(name, dict) else name)


def _is_known(layer: Any) -> bool:
    """Says whether a layer is what `_encode` computes. Quantised layers, for example, have other weights."""
    return (
        type(layer) is keras_hub.layers.TransformerEncoder
        and not layer.normalize_first
        and _activation(layer) in GELU_IS_APPROXIMATE
        and set(_named_weights(layer)) == _WEIGHTS
    )
