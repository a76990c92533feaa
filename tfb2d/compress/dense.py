"""Prunes, clusters and quantises a student's dense layers with TensorFlow Model Optimization (TFMOT).

TFMOT works on plain tf_keras models, so the dense layers are copied into one that starts from the pooled features; the
student's trunk computes those, batch by batch, with its tables as they will be served. The new weights are then copied
back. A later step keeps what an earlier one did, as in TFMOT's collaborative optimisation (PQAT, CQAT, PCQAT).

Reference: https://www.tensorflow.org/model_optimization/guide/combine/collaborative_optimization
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfb2d.compress import tfmot
from tfb2d.compress.quantised import quantised, quantised_form
from tfb2d.compress.student import dense_layers
from tfb2d.config import CompressConfig
from tfb2d.students.model import Student
from tfb2d.students.rows import TrainingRows
from tfb2d.students.steps import soft_cross_entropy

CALIBRATION_BATCHES = 64

Features = Callable[[Sequence[tf.RaggedTensor]], tf.Tensor]


def features(student: Student) -> Features:
    """Returns a function from each field's hashes to what the dense layers read: `[batch, width]` float32.

    A pair's query pool comes last.
    """
    inputs = [student.first_dense.input, *([student.query_dense.input] if student.query_dense else [])]
    model = tf_keras.Model(student.trunk.inputs, inputs[0] if len(inputs) == 1 else tf.concat(inputs, -1))
    specs = [tf.RaggedTensorSpec([None, None], tf.int64, 1, tf.int64) for _ in student.task.fields]
    return tf.function(lambda hashes: model(hashes, training=False), input_signature=[specs])


def some_batches(source: Features, rows: TrainingRows, seed: int) -> list[tf.Tensor]:
    """Returns the features of some rows, from which the ranges of activations are read."""
    return [source(rows.batch(index)[0]) for index in islice(rows.batches(512, (seed, 9)), CALIBRATION_BATCHES)]


def dense_model(student: Student) -> tf_keras.Sequential:
    """Copies the dense layers into one model from features to logits; both halves of a pair's first layer are joined."""
    layers = (student.first_dense, *student.denses)
    kernels = [layers[0].kernel, *([student.query_dense.kernel] if student.query_dense else [])]
    model = tf_keras.Sequential([tf_keras.Input((sum(kernel.shape[0] for kernel in kernels),), name="features")])
    for layer in layers:
        last = layer is layers[-1]
        model.add(tf_keras.layers.Dense(layer.units, None if last else "relu", name=f"tuned_{layer.name}"))
    weights = [np.concatenate([kernel.numpy() for kernel in kernels]), layers[0].bias.numpy()]
    model.set_weights([*weights, *(weight for layer in layers[1:] for weight in layer.get_weights())])
    return model


def tune(student: Student, rows: TrainingRows, config: CompressConfig) -> Student:
    """Prunes, clusters and quantises the dense layers of a student in the form in which it is served, on its training rows.

    Returns a copy of the student with the new dense weights. After quantisation-aware training they lie on an 8-bit
    grid, and `compression["dense"]` has the ranges that a fully quantised form needs; see `quantised_form`.
    """
    source = features(student)
    model = tuned(dense_model(student), source, rows, config)
    record: dict[str, Any] = {"sparsity": config.sparsity, "clusters": config.clusters}
    if config.qat_epochs:
        weights, ranges = quantised_form(model)
        record |= ranges
    else:
        weights = model.get_weights()
    return with_dense(student, weights, record)


def tuned(model: tf_keras.Sequential, source: Features, rows: TrainingRows, config: CompressConfig) -> tf_keras.Model:
    """Prunes, clusters and quantises a dense model as `config` says, in TFMOT's order, and returns it."""
    if config.sparsity:
        model = pruned(model, source, rows, config)
    if config.clusters:
        model = clustered(model, source, rows, config)
    if config.qat_epochs:
        model = quantised(model, some_batches(source, rows, config.seed), config.sparsity > 0, config.clusters > 0)
        fit(model, source, rows, config, config.qat_epochs, 2)
    return model


def pruned(
    model: tf_keras.Sequential, source: Features, rows: TrainingRows, config: CompressConfig
) -> tf_keras.Sequential:
    """Prunes by magnitude: each layer but the last loses its smallest weights, step by step, while the rest learns."""
    sparsity = tfmot.load().sparsity.keras
    steps = config.epochs * -(-rows.n // config.batch_size)
    # With the default frequency of 100 steps a short training would prune nothing.
    schedule = sparsity.PolynomialDecay(
        0.0, config.sparsity, begin_step=0, end_step=max(1, steps // 2), frequency=max(1, steps // 50)
    )
    made = _but_last(model, lambda layer: sparsity.prune_low_magnitude(layer, schedule))
    fit(made, source, rows, config, config.epochs, 0, sparsity.UpdatePruningStep())
    return sparsity.strip_pruning(made)


def clustered(
    model: tf_keras.Sequential, source: Features, rows: TrainingRows, config: CompressConfig
) -> tf_keras.Sequential:
    """Clusters weights: each layer but the last is left with a few distinct weights, which learn.

    Zeros that pruning made are put back afterwards: TFMOT's public interface cannot keep them while it clusters.
    """
    clustering = tfmot.load().clustering.keras
    # k-means++ is random and would give other clusters every time.
    settings = {
        "number_of_clusters": config.clusters,
        "cluster_centroids_init": clustering.CentroidInitialization.LINEAR,
    }
    zeros = [layer.kernel.numpy() == 0 for layer in model.layers]
    made = _but_last(model, lambda layer: clustering.cluster_weights(layer, **settings))
    fit(made, source, rows, config, config.epochs, 1)
    made = clustering.strip_clustering(made)
    if config.sparsity:
        for layer, zero in zip(made.layers, zeros, strict=True):
            layer.kernel.assign(np.where(zero, np.float32(0), layer.kernel))
    return made


def fit(
    model: tf_keras.Model,
    source: Features,
    rows: TrainingRows,
    config: CompressConfig,
    epochs: int,
    part: int,
    callback: tf_keras.callbacks.Callback | None = None,
) -> None:
    """Trains a dense model on what the student was trained on; each `part` gives another random order of the rows."""
    model.compile(tf_keras.optimizers.Adam(config.learning_rate, jit_compile=False), soft_cross_entropy)
    if callback:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch in range(epochs):
        for index in rows.batches(config.batch_size, (config.seed, part, epoch)):
            hashes, targets = rows.batch(index)
            if callback:
                callback.on_train_batch_begin(0)
            model.train_on_batch(source(hashes), targets)
        if callback:
            callback.on_epoch_end(epoch)


def with_dense(student: Student, weights: Sequence[np.ndarray], record: dict[str, Any] | None = None) -> Student:
    """Copies a student with the weights of a dense model, kernels and biases in turn."""
    compression = {"tables": {}, **(student.compression or {})}
    compression |= {"dense": record} if record else {}
    made = Student(student.task, student.config, student.seed, compression, student.dictionary)
    for target, value in zip(made.trunk.weights, student.trunk.weights, strict=True):
        target.assign(value)
    kernel, bias, *later = weights
    query, *layers = dense_layers(made) if made.query_dense else (None, *dense_layers(made))
    width = layers[0].kernel.shape[0]
    layers[0].set_weights([kernel[:width], bias])
    if query is not None:
        query.set_weights([kernel[width:]])
    for layer, kernel, bias in zip(layers[1:], later[::2], later[1::2], strict=True):
        layer.set_weights([kernel, bias])
    return made


def _but_last(model: tf_keras.Sequential, change: Callable) -> tf_keras.Sequential:
    last = model.layers[-1]
    whole = len(model.layers) == 1
    return tf_keras.models.clone_model(
        model, clone_function=lambda layer: change(layer) if whole or layer is not last else layer
    )
