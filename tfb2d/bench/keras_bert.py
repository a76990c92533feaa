"""BERT in KerasHub under `tf.function`, without further optimisation."""

from pathlib import Path
from typing import Any

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
