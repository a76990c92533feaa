"""The base of the text classifiers that KerasHub lacks: dropout and a dense layer on a vector per row."""

from typing import Any

import keras
import keras_hub


class DenseTextClassifier(keras_hub.models.TextClassifier):
    """An encoder with a dense layer on its pooled output, which each family computes in `pool`.

    Args:
      backbone: the family's `keras_hub.models.Backbone`.
      num_classes: logits.
      preprocessor: the family's `keras_hub.models.TextClassifierPreprocessor`.
      dropout: share of the pooled output left out in training.
    """

    def __init__(
        self, backbone: Any, num_classes: int, preprocessor: Any = None, dropout: float = 0.1, **kwargs: Any
    ) -> None:
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.dropout = dropout
        self.make_pooling()
        self.output_dropout = self.dropout_layer("output_dropout")
        self.output_dense = self.dense_layer(num_classes, "logits")

        # === Functional model ===
        inputs = backbone.input
        pooled = self.pool(backbone(inputs))
        super().__init__(inputs=inputs, outputs=self.output_dense(self.output_dropout(pooled)), **kwargs)

        # === Config ===
        self.num_classes = num_classes

    def make_pooling(self) -> None:
        """Makes the layers that `pool` needs; by default there are none."""

    def pool(self, outputs: Any) -> Any:
        """Turns the encoder's outputs into float [batch, hidden_dim]."""
        raise NotImplementedError

    def dense_layer(self, width: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        """Makes a dense layer, initialised as BERT's are, in the encoder's precision."""
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        return keras.layers.Dense(
            width, activation, kernel_initializer=normal, dtype=self.backbone.dtype_policy, name=name
        )

    def dropout_layer(self, name: str) -> keras.layers.Dropout:
        """Makes a dropout layer in the encoder's precision."""
        return keras.layers.Dropout(self.dropout, dtype=self.backbone.dtype_policy, name=name)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "dropout": self.dropout}
