"""Makes WordPiece tokenizers that cut texts exactly as in the encoders' pre-training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras_hub

from tfb2d.config import ConfigError
from tfb2d.teachers.mpnet import MPNetTextClassifierPreprocessor, MPNetTokenizer
from tfb2d.teachers.tokenizer_settings import made_here, read_settings, without_accents

FAMILIES: dict[str, tuple[Any, Any]] = {  # tokenizer and preprocessor, by Hugging Face's name
    "bert": (keras_hub.tokenizers.BertTokenizer, keras_hub.models.BertTextClassifierPreprocessor),
    "distilbert": (keras_hub.tokenizers.DistilBertTokenizer, keras_hub.models.DistilBertTextClassifierPreprocessor),
    "mpnet": (MPNetTokenizer, MPNetTextClassifierPreprocessor),
}


def preprocessor_of(folder: Path, model_type: str) -> Any:
    """Makes a KerasHub preprocessor with the tokenizer that a Hugging Face folder describes.

    Args:
      folder: holds `vocab.txt`, `tokenizer_config.json`, `tokenizer.json`, or some of them.
      model_type: Hugging Face's name of the family, one of `FAMILIES`.

    Raises:
      ConfigError: a special token is not in the vocabulary, or see `read_settings`.
    """
    tokenizer_class, preprocessor_class = FAMILIES[model_type]
    settings = read_settings(folder)
    try:
        tokenizer = tokenizer_class(
            list(settings.vocabulary), lowercase=settings.lowercase, strip_accents=settings.strip_accents
        )
    except ValueError as error:  # KerasHub's, of a special token that the vocabulary lacks
        raise ConfigError(f"{folder}: its vocabulary cannot be used: {error}") from error
    return preprocessor_class(tokenizer)


def repair_accents(tokenizer: Any, preset: Path) -> None:
    """Makes a KerasHub preset's uncased tokenizer strip accents, if its vocabulary was made of texts without accents.

    KerasHub's uncased presets keep accents although their encoders were trained without: accented words are unknown to
    them. A saved teacher's own encoder keeps the setting that it was trained with.
    """
    if not isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer) or made_here(preset):
        return
    if tokenizer.lowercase and not tokenizer.strip_accents:
        tokenizer.strip_accents = without_accents(tokenizer.get_vocabulary())


def reference_tokenizer(tokenizer: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    """Returns a function from texts to token ids: the `tokenizers` library with a KerasHub tokenizer's settings.

    A special token in a text is cut like any other text, so a text cannot end its row.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {piece: index for index, piece in enumerate(tokenizer.get_vocabulary())}
    reference = Tokenizer(
        models.WordPiece(
            ids,
            unk_token=tokenizer.oov_token,
            continuing_subword_prefix=tokenizer.suffix_indicator,
            max_input_chars_per_word=100,
        )
    )
    reference.normalizer = normalizers.BertNormalizer(
        lowercase=tokenizer.lowercase, strip_accents=tokenizer.strip_accents
    )
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda texts: [row.ids for row in reference.encode_batch_fast(list(texts), add_special_tokens=False)]
