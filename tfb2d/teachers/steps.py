"""Computes a forward pass and a training step, on any backend of Keras.

With TensorFlow both are traced once, for any shape. Keras' own `predict_on_batch` and `train_on_batch` trace the first
shape separately, which rounds the last bit differently. A run that was killed and resumed would end with other weights.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

Inputs = Mapping[str, np.ndarray]


def forward(model: keras.Model) -> Callable[[Inputs], Any]:
    """Returns a function from a batch of inputs, int32 [rows, length] each, to the model's outputs as arrays."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(
            lambda inputs: model(inputs, training=False), input_signature=[_signature(model)], autograph=False
        )
        return lambda inputs: tf.nest.map_structure(lambda values: values.numpy(), function(dict(inputs)))

    plain = _plain(model)

    def run(inputs: Inputs) -> Any:
        # JAX compiles each shape: a power of two of rows keeps the shapes few.
        rows = len(next(iter(inputs.values())))
        extra = (1 << (rows - 1).bit_length()) - rows
        padded = {name: np.concatenate([values, np.repeat(values[:1], extra, 0)]) for name, values in inputs.items()}
        outputs = plain.predict_on_batch(padded)
        return keras.tree.map_structure(lambda values: np.asarray(values)[:rows], outputs)

    return run


def training_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: keras.losses.Loss, labels_spec: Any = None
) -> Callable[[Inputs, np.ndarray], float]:
    """Returns a function that takes a batch and its labels, changes the weights, and returns the loss before that.

    The optimizer is built; `loss` is of labels and the model's outputs. `labels_spec` None stands for float32 [rows, 1].
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        labels = labels_spec or tf.TensorSpec([None, 1], tf.float32)

        @tf.function(input_signature=[_signature(model), labels], autograph=False)
        def step(inputs: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(labels, model(inputs, training=True))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(value, variables), variables)
            return value

        return lambda inputs, labels: float(step(dict(inputs), labels))
    plain = _plain(model)
    plain.compile(optimizer=optimizer, loss=loss)
    return lambda inputs, labels: float(plain.train_on_batch(dict(inputs), labels, return_dict=True)["loss"])


def _plain(model: keras.Model) -> keras.Model:
    # The tokenizer of a KerasHub task counts as a layer that is not built, for which Keras would trace the task each step.
    return keras.Model(model.input, model.output)


def _signature(model: keras.Model) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.TensorSpec([None, None], tf.int32, name) for name in model.input}
