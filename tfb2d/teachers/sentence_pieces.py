"""Prepares texts for SentencePiece encoders that were pre-trained on lower-case text, such as ALBERT.

What lower-cased the text is no part of a SentencePiece file, and KerasHub reads that file alone. So each capital letter is
unknown to its uncased ALBERT, and each letter with an accent: "Café" is read as unknown, "af", unknown.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras_hub

from tfb2d.teachers.tokenizer_settings import without_accents


def is_uncased(tokenizer: Any) -> bool:
    """Says whether a KerasHub tokenizer has a SentencePiece vocabulary in which no piece has a capital letter."""
    if not isinstance(tokenizer, keras_hub.tokenizers.SentencePieceTokenizer):
        return False
    return not any(character.isupper() for piece in _pieces(tokenizer) for character in piece)


def preparation(tokenizer: Any) -> Callable[[Sequence[str]], list[str]]:
    """Returns a function that brings texts into the form that an uncased tokenizer's vocabulary was made of.

    Texts are lower-cased, and lose their accents if no piece has one. For ALBERT, LaTeX's quotes become plain ones. It is
    what Hugging Face's AlbertTokenizer does
    (https://huggingface.co/docs/transformers/model_doc/albert#transformers.AlbertTokenizer).
    """
    from tokenizers import normalizers

    steps: list[Any] = []
    if isinstance(tokenizer, keras_hub.tokenizers.AlbertTokenizer):
        steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if without_accents(_pieces(tokenizer)):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()])
    return lambda texts: [normalizer.normalize_str(text) for text in texts]


def _pieces(tokenizer: Any) -> list[str]:
    """Returns the pieces that may come of a text; others, such as <unk> and [SEP], stand in brackets."""
    return [piece for piece in tokenizer.get_vocabulary() if not re.fullmatch(r"<.+>|\[.+\]", piece)]
