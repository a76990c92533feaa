"""Reads from a preset's own files how texts are cut into word pieces. Imports no Keras.

BERT and its relatives were pre-trained on text that Hugging Face's tokenizer cuts in the same way. KerasHub's tokenizer
differs. It keeps accents by default, folds "ß" to "ss" and does not split at a no-break space. Words of more than 100 bytes
are unknown to it. So teachers use the `tokenizers` library (`wordpiece.py`).
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfb2d.config import ConfigError
from tfb2d.teachers.saved import FILE

TOKENIZERS = "tokenizers"  # what cuts a teacher's word pieces, in `teacher.json`; without it KerasHub does
OTHER_PIECES = (
    "tokenizers 2"  # the same of byte pairs and uncased sentence pieces: there, TOKENIZERS means KerasHub, too
)
MODEL_TYPES = ("bert", "distilbert", "mpnet")  # Hugging Face's names of the WordPiece encoders that can be loaded


@dataclass(frozen=True)
class WordPieceSettings:
    """Settings of a WordPiece tokenizer, from a Hugging Face folder.

    Attributes:
      vocabulary: the pieces, in the order of their ids.
      lowercase: whether texts are lower-cased first.
      strip_accents: whether letters lose their accents first.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool


def read_settings(folder: Path) -> WordPieceSettings:
    """Reads a Hugging Face folder's `tokenizer_config.json`, `tokenizer.json` and `vocab.txt`; some may be missing.

    This follows Hugging Face's BERT: `tokenizer_config.json` counts before `tokenizer.json`, texts are lower-cased by
    default, and `strip_accents: null` means that accents are stripped if texts are lower-cased
    (https://huggingface.co/docs/transformers/model_doc/bert#transformers.BertTokenizer).

    Raises:
      ConfigError: there is no vocabulary, or the tokenizer is of a kind that is not known here.
    """
    config = _json(folder / "tokenizer_config.json")
    whole = _json(folder / "tokenizer.json")
    if config.get("tokenizer_class") == "BertJapaneseTokenizer":
        raise ConfigError(f"{folder}: its BertJapaneseTokenizer cuts words with MeCab, which teachers cannot do")
    normalizer = whole.get("normalizer") or {}
    kind = normalizer.get("type", "null" if whole else "BertNormalizer")  # without one, texts are read as they are
    if kind != "BertNormalizer" and "do_lower_case" not in config:
        raise ConfigError(
            f"{folder / 'tokenizer.json'}: its normalizer is {kind}, not BertNormalizer; say in "
            f"{folder / 'tokenizer_config.json'} whether texts are lower-cased: do_lower_case"
        )
    if not config.get("tokenize_chinese_chars", normalizer.get("handle_chinese_chars", True)):
        raise ConfigError(f"{folder}: tokenize_chinese_chars is false; teachers cut Chinese characters apart")
    lowercase = bool(config.get("do_lower_case", normalizer.get("lowercase", True)))
    strip = config.get("strip_accents", normalizer.get("strip_accents"))
    return WordPieceSettings(_vocabulary(folder, whole), lowercase, lowercase if strip is None else bool(strip))


def family_of(preset: Path) -> str:
    """Returns Hugging Face's name of the encoder family in a folder, if it is one of `MODEL_TYPES`; else ""."""
    family = _json(preset / "config.json").get("model_type", "") if preset.is_dir() else ""
    return str(family) if family in MODEL_TYPES else ""


def made_here(preset: Path) -> bool:
    """Says whether a preset is a saved teacher's model, which keeps the tokenizer settings that it learnt with."""
    return (preset.parent / FILE).exists()


def without_accents(vocabulary: Sequence[str]) -> bool:
    """Says whether no piece of a vocabulary has an accent: then it was made of texts without accents."""
    return not any(
        unicodedata.category(character) == "Mn"
        for piece in vocabulary
        if not piece.isascii()
        for character in unicodedata.normalize("NFD", piece)
    )


def _vocabulary(folder: Path, whole: dict[str, Any]) -> tuple[str, ...]:
    path = folder / "vocab.txt"
    if path.is_file():
        return tuple(line.rstrip() for line in re.split(r"\r?\n", path.read_text(encoding="utf-8").rstrip("\n")))
    model = whole.get("model") or {}
    if model.get("type") != "WordPiece" or not model.get("vocab"):
        if not (folder / "tokenizer.json").is_file():
            has = "there is no tokenizer.json either"
        elif model.get("type", "WordPiece") != "WordPiece":
            has = f"its tokenizer.json is of {model['type']}"
        else:
            has = "its tokenizer.json has no model of type WordPiece with a vocab"
        raise ConfigError(f"{folder}: there is no vocab.txt, and {has}, so its word pieces are not known")
    return _by_id(folder / "tokenizer.json", model["vocab"], whole.get("added_tokens") or [])


def _by_id(path: Path, ids: dict[str, int], added: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Lists pieces so that each one's index is its id. Added tokens fill gaps between ids, placeholders the rest."""
    pieces: dict[int, str] = {}
    for piece, index in ids.items():
        if type(index) is not int or index < 0 or index in pieces:
            raise ConfigError(f"{path}: the id of piece {piece!r} is {index!r}; ids are different whole numbers from 0")
        pieces[index] = piece
    for token in added:
        if token["content"] not in ids:
            pieces.setdefault(token["id"], token["content"])
    size = max(pieces) + 1
    if size > 2 * len(pieces):  # a wrong id may be of any size
        raise ConfigError(
            f"{path}: the ids of its {len(pieces):,} pieces go up to {size - 1:,}; most of them are missing"
        )
    # Words have no spaces, so no text yields a piece that has one.
    return tuple(pieces.get(index, f"[no piece {index}]") for index in range(size))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}
