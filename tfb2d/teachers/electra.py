"""A text classifier for ELECTRA, which KerasHub has as an encoder alone.

Registered with Keras, so that `keras_hub.models.TextClassifier.from_preset` finds it for every ELECTRA preset.
"""

from typing import Any

import keras
import keras_hub

from tfb2d.teachers.classifier import DenseTextClassifier


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifierPreprocessor(keras_hub.models.TextClassifierPreprocessor):
    """Tokenizes and packs text for ELECTRA, as `[CLS] first [SEP] second [SEP]`."""

    backbone_cls = keras_hub.models.ElectraBackbone
    tokenizer_cls = keras_hub.tokenizers.ElectraTokenizer


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifier(DenseTextClassifier):
    """ELECTRA with a dense layer on its pooled output; for the arguments see `DenseTextClassifier`.

    Reference:
      [Clark et al., 2020](https://arxiv.org/abs/2003.10555)
    """

    backbone_cls = keras_hub.models.ElectraBackbone
    preprocessor_cls = ElectraTextClassifierPreprocessor

    def pool(self, outputs: Any) -> Any:
        """Takes the encoder's own pooled output."""
        return outputs["pooled_output"]
