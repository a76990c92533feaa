"""BERT in KerasHub under `tf.function`, without further optimisation."""

from pathlib import Path
from typing import Any

import numpy as np

from tfb2d.bench.bert import ARCHITECTURES, Architecture, Transformer


def classifier(shape: Architecture) -> Any:
    """Returns a KerasHub BERT classifier with random weights, which gives logits."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=shape.vocabulary,
        num_layers=shape.layers,
        num_heads=shape.heads,
        hidden_dim=shape.width,
        intermediate_dim=shape.intermediate,
        max_sequence_length=shape.positions,
        num_segments=shape.segments,
    )
    return keras_hub.models.BertTextClassifier(backbone, num_classes=shape.logits, preprocessor=None)


def weights_of(model: Any, shape: Architecture) -> dict[str, np.ndarray]:
    """Returns the weights of a classifier under the names of `tfb2d.bench.bert.random_weights`."""
    backbone, width = model.backbone, shape.width
    weights: dict[str, Any] = {
        "word": backbone.token_embedding.embeddings,
        "position": backbone.position_embedding.position_embeddings,
        "segment": backbone.segment_embedding.embeddings,
    }

    def norm(name: str, layer: Any) -> None:
        weights[f"{name}.gamma"], weights[f"{name}.beta"] = layer.gamma, layer.beta

    def dense(name: str, layer: Any) -> None:
        weights[f"{name}.kernel"], weights[f"{name}.bias"] = layer.kernel, layer.bias

    norm("norm", backbone.embeddings_layer_norm)
    for i, layer in enumerate(backbone.transformer_layers):
        attention = layer._self_attention_layer
        sides = (attention._query_dense, attention._key_dense, attention._value_dense)
        weights[f"{i}.attention.kernel"] = np.concatenate(
            [np.reshape(layer.kernel, (width, width)) for layer in sides], 1
        )
        weights[f"{i}.attention.bias"] = np.concatenate([np.reshape(layer.bias, width) for layer in sides])
        weights[f"{i}.output.kernel"] = np.reshape(attention._output_dense.kernel, (width, width))
        weights[f"{i}.output.bias"] = attention._output_dense.bias
        norm(f"{i}.norm", layer._self_attention_layer_norm)
        dense(f"{i}.up", layer._feedforward_intermediate_dense)
        dense(f"{i}.down", layer._feedforward_output_dense)
        norm(f"{i}.last_norm", layer._feedforward_layer_norm)
    dense("pooler", backbone.pooled_dense)
    dense("head", model.output_dense)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def forward(model: Any) -> Any:
    """Returns one traced function: int32 `[batch, length]` ids, segments and mask -> probabilities `[batch, logits]`."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec] * 3)
    def probabilities(ids: tf.Tensor, segments: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        logits = model({"token_ids": ids, "segment_ids": segments, "padding_mask": mask}, training=False)
        return tf.sigmoid(logits) if logits.shape[-1] == 1 else tf.nn.softmax(logits)

    return lambda *inputs: probabilities(*map(tf.constant, inputs)).numpy()


def open_keras(architecture: str, tokenizer: str, max_length: int) -> Transformer:
    """Returns a system: an architecture with random weights."""
    model = classifier(ARCHITECTURES[architecture])
    size = 4 * model.count_params() + Path(tokenizer).stat().st_size
    return Transformer(forward(model), tokenizer, max_length, {"file_mb": size / 1e6})
