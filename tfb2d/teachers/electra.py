"""A text classifier for ELECTRA, the one encoder family that KerasHub has without one.

Registered with Keras, so that `keras_hub.models.TextClassifier.from_preset` finds it for every ELECTRA preset.
"""

from typing import Any

import keras
import keras_hub


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifierPreprocessor(keras_hub.models.TextClassifierPreprocessor):
    """Tokenizes and packs text for ELECTRA, as `[CLS] first [SEP] second [SEP]`."""

    backbone_cls = keras_hub.models.ElectraBackbone
    tokenizer_cls = keras_hub.tokenizers.ElectraTokenizer


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifier(keras_hub.models.TextClassifier):
    """ELECTRA with a dense layer on its pooled output.

    Args:
      backbone: a `keras_hub.models.ElectraBackbone`.
      num_classes: logits.
      preprocessor: an `ElectraTextClassifierPreprocessor`.
      dropout: share of the pooled output left out in training.

    Reference:
      [Clark et al., 2020](https://arxiv.org/abs/2003.10555)
    """

    backbone_cls = keras_hub.models.ElectraBackbone
    preprocessor_cls = ElectraTextClassifierPreprocessor

    def __init__(
        self, backbone: Any, num_classes: int, preprocessor: Any = None, dropout: float = 0.1, **kwargs: Any
    ) -> None:
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        policy = backbone.dtype_policy
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.output_dropout = keras.layers.Dropout(dropout, dtype=policy, name="output_dropout")
        self.output_dense = keras.layers.Dense(num_classes, kernel_initializer=initializer, dtype=policy, name="logits")

        # === Functional model ===
        inputs = backbone.input
        pooled = self.output_dropout(backbone(inputs)["pooled_output"])
        super().__init__(inputs=inputs, outputs=self.output_dense(pooled), **kwargs)

        # === Config ===
        self.num_classes = num_classes
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "dropout": self.dropout}
