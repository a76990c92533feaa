"""A text classifier for ELECTRA, which KerasHub has as an encoder alone. Its encoder pools as BERT's does.

Registered with Keras, so that `keras_hub.models.TextClassifier.from_preset` finds it for every ELECTRA preset.

Reference: Clark et al. 2020 (arXiv 2003.10555).
"""

import keras
import keras_hub


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifierPreprocessor(keras_hub.models.TextClassifierPreprocessor):
    """Tokenizes and packs text for ELECTRA, as `[CLS] first [SEP] second [SEP]`."""

    backbone_cls = keras_hub.models.ElectraBackbone
    tokenizer_cls = keras_hub.tokenizers.ElectraTokenizer


@keras.saving.register_keras_serializable("tfb2d")
class ElectraTextClassifier(keras_hub.models.BertTextClassifier):
    """ELECTRA with dropout and a dense layer on its pooled output; arguments as of BERT's classifier."""

    backbone_cls = keras_hub.models.ElectraBackbone
    preprocessor_cls = ElectraTextClassifierPreprocessor
