"""Makes TFMOT's 8-bit form of a dense model, sets its ranges from data, and reads its weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.compress import tfmot

BITS = 8
_STEPS = 2 ** (BITS - 1) - 1  # a kernel's weights are whole multiples of its scale, -127 to 127 times


def quantised(
    model: tf_keras.Sequential, batches: Sequence[tf.Tensor], sparse: bool = False, clustered: bool = False
) -> tf_keras.Model:
    """Makes a dense model with fake-quantised weights and activations; logits stay float.

    The ranges of activations are the smallest and the largest value in `batches` of features; there must be one. TFMOT
    starts them at +-6 and moves them by a thousandth a step, which takes longer than a student's fine-tuning. So this
    is also what post-training quantisation gives. Further training keeps zeros if `sparse`, and clusters if
    `clustered`.
    """
    if not batches:
        raise ValueError("there are no rows to read the ranges of activations from")
    quantisation = tfmot.load().quantization.keras
    last = model.layers[-1]
    annotate = quantisation.quantize_annotate_layer
    only_weights = _last_layer_config()
    marked = tf_keras.models.clone_model(
        model, clone_function=lambda layer: annotate(layer, only_weights) if layer is last else annotate(layer)
    )
    with quantisation.quantize_scope({"LastLayerConfig": type(only_weights)}):
        made = quantisation.quantize_apply(marked, *_scheme(sparse, clustered))
    values = [tf.concat(batches, 0)]
    for layer in model.layers[:-1]:
        values.append(layer(values[-1]))
    for (low, high), outputs in zip(_activation_ranges(made), values, strict=True):
        # Zero must be in the range: the grid has to hold zero.
        low.assign(min(0.0, float(tf.reduce_min(outputs))))
        high.assign(max(1e-6, float(tf.reduce_max(outputs))))
    for wrapper in made.layers[1:]:
        low, high = _range_of(wrapper, "kernel")
        largest = max(float(tf.reduce_max(tf.abs(_variable(wrapper, "kernel")))), 1e-8)
        low.assign(-largest)
        high.assign(largest)
    return made


def quantised_form(model: tf_keras.Model) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Reads what a quantised dense model computes with.

    Returns kernels and biases in turn, kernels rounded to the grid that the model uses; and the record of
    `student.json`: `{"bits": 8, "activations": [[low, high], ...], "kernel_scales": [...]}`. Activations are the
    features (of pairs the query's pool among them) and the output of each ReLU. A kernel's weights are whole multiples
    of its scale, -127 to 127 times; a pair's `query_dense` and `first_dense` are one kernel here.
    """
    weights, scales = [], []
    for wrapper in model.layers[1:]:
        # A call puts the rounded weights into the layer (QuantizeConfig.set_quantize_weights), from where they are read.
        wrapper(tf.zeros([1, wrapper.input_shape[-1]]), training=False)
        weights += [np.asarray(wrapper.layer.kernel), wrapper.layer.bias.numpy()]
        scales.append(float(_range_of(wrapper, "kernel")[1]) / _STEPS)
    ranges = [[float(low), float(high)] for low, high in _activation_ranges(model)]
    return weights, {"bits": BITS, "activations": ranges, "kernel_scales": scales}


def _activation_ranges(model: tf_keras.Model) -> list[tuple[tf.Variable, tf.Variable]]:
    """Lists the variables with the range of the features and of each ReLU's output."""
    first, *wrappers = model.layers
    return [_range_of(first, first.name), *(_range_of(wrapper, "post_activation") for wrapper in wrappers[:-1])]


def _range_of(layer: tf_keras.layers.Layer, what: str) -> tuple[tf.Variable, tf.Variable]:
    return _variable(layer, f"{what}_min"), _variable(layer, f"{what}_max")


def _variable(layer: tf_keras.layers.Layer, name: str) -> tf.Variable:
    """Finds a layer's weight by its name, which checkpoints of quantised models hold too."""
    named = [weight for weight in layer.weights if weight.name.split("/")[-1] == f"{name}:0"]
    if len(named) != 1:
        names = ", ".join(weight.name for weight in layer.weights)
        tested = "tfb2d was tested with TFMOT 0.8.1"  # another version names its weights otherwise
        raise RuntimeError(f"TFMOT's {layer.name} has no weight {name} among {names}; {tested}")
    return named[0]


def _scheme(sparse: bool, clustered: bool) -> list[Any]:
    """Returns the scheme that keeps zeros or clusters, or nothing, for TFMOT's default."""
    combine = tfmot.load().experimental.combine
    if clustered:
        return [combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=sparse)]
    return [combine.Default8BitPrunePreserveQuantizeScheme()] if sparse else []


def _last_layer_config() -> Any:
    """Returns how the last layer is quantised: its weights alone, for 8 bits are too coarse for a logit."""
    quantisation = tfmot.load().quantization.keras

    class LastLayerConfig(quantisation.QuantizeConfig):  # type: ignore[name-defined]
        def get_weights_and_quantizers(self, layer: Any) -> list:
            quantizer = quantisation.quantizers.LastValueQuantizer(
                num_bits=BITS, per_axis=False, symmetric=True, narrow_range=True
            )
            return [(layer.kernel, quantizer)]

        def get_activations_and_quantizers(self, layer: Any) -> list:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: list) -> None:
            layer.kernel = quantize_weights[0]

        def set_quantize_activations(self, layer: Any, quantize_activations: list) -> None:
            pass

        def get_output_quantizers(self, layer: Any) -> list:
            return []

        def get_config(self) -> dict:
            return {}

    return LastLayerConfig()
