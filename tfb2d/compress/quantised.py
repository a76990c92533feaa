"""TFMOT's 8-bit form of a dense model: made, its ranges set from data, and read out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.compress import tfmot

BITS = 8


def quantised(
    model: tf_keras.Sequential, batches: Sequence[tf.Tensor], sparse: bool = False, clustered: bool = False
) -> tf_keras.Model:
    """A dense model with fake-quantised weights and activations; logits stay float.

    The ranges of activations are the smallest and the largest value in `batches`. TFMOT starts them at +-6 and moves them
    by a thousandth a step, which takes longer than a student's fine-tuning. So this is also what post-training
    quantisation gives.

    Args:
      model: of dense layers.
      batches: features.
      sparse: further training keeps zeros.
      clustered: further training keeps clusters.
    """
    tfmot.load()
    from tensorflow_model_optimization import quantization

    last = model.layers[-1]
    annotate = quantization.keras.quantize_annotate_layer
    marked = tf_keras.models.clone_model(
        model, clone_function=lambda layer: annotate(layer, _last_layer()) if layer is last else annotate(layer)
    )
    with quantization.keras.quantize_scope({"LastLayer": type(_last_layer())}):
        made = quantization.keras.quantize_apply(marked, _scheme(sparse, clustered))
    values = [tf.concat(batches, 0)]
    for layer in model.layers[:-1]:
        values.append(layer(values[-1]))
    for weight, (low, high) in zip(_range_weights(made), [_range(one) for one in values], strict=True):
        weight[0].assign(low)
        weight[1].assign(high)
    for wrapper in made.layers[1:]:
        for kernel, _, variables in wrapper._weight_vars:
            largest = max(float(tf.reduce_max(tf.abs(kernel))), 1e-8)
            variables["min_var"].assign(-largest)
            variables["max_var"].assign(largest)
    return made


def quantised_form(model: tf_keras.Model) -> tuple[list[np.ndarray], dict[str, Any]]:
    """What a quantised dense model computes with.

    Returns:
      Kernels and biases in turn, kernels rounded to the grid that the model uses; and the record of `student.json`:
      `{"bits": 8, "activations": [[low, high], ...], "kernel_scales": [...]}`. Activations are the features (of pairs the
      query's pool among them) and the output of each ReLU. A kernel's weights are whole multiples of its scale, -127 to
      127 times; a pair's `query_dense` and `first_dense` are one kernel here.
    """
    weights, scales = [], []
    for wrapper in model.layers[1:]:
        ((kernel, quantizer, variables),) = wrapper._weight_vars
        weights += [quantizer(kernel, False, weights=variables).numpy(), wrapper.layer.bias.numpy()]
        scales.append(float(variables["max_var"]) / (2 ** (BITS - 1) - 1))
    ranges = [[float(one) for one in pair] for pair in _range_weights(model)]
    return weights, {"bits": BITS, "activations": ranges, "kernel_scales": scales}


def _range_weights(model: tf_keras.Model) -> list[tuple[tf.Variable, tf.Variable]]:
    """The variables with the range of the features and of each ReLU's output."""
    first, *wrappers = model.layers
    variables = [first.quantizer_vars]
    variables += [one._post_activation_vars for wrapper in wrappers for one in wrapper._quantize_activations]
    return [(one["min_var"], one["max_var"]) for one in variables]


def _range(values: tf.Tensor) -> tuple[float, float]:
    # Zero must be in it: the grid has to hold zero.
    low, high = min(0.0, float(tf.reduce_min(values))), max(0.0, float(tf.reduce_max(values)))
    return low, max(high, low + 1e-6)


def _scheme(sparse: bool, clustered: bool) -> Any:
    tfmot.load()
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        default_8bit_cluster_preserve_quantize_scheme as cluster_preserve,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
        default_8bit_prune_preserve_quantize_scheme as prune_preserve,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_scheme

    if clustered:
        return cluster_preserve.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=sparse)
    if sparse:
        return prune_preserve.Default8BitPrunePreserveQuantizeScheme()
    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


def _last_layer() -> Any:
    """How the last layer is quantised: its weights alone, for 8 bits are too coarse for a logit."""
    tfmot.load()
    from tensorflow_model_optimization import quantization
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    class LastLayer(quantization.keras.QuantizeConfig):
        def get_weights_and_quantizers(self, layer: Any) -> list:
            every = quantizers.LastValueQuantizer(num_bits=BITS, per_axis=False, symmetric=True, narrow_range=True)
            return [(layer.kernel, every)]

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

    return LastLayer()
