"""Reads a Hugging Face folder's tokenizer of word pieces, and sets KerasHub's right.

BERT and its relatives were pre-trained on text that Hugging Face's tokenizer cuts alike; for teachers `tokens.py` does so.
What is read here are the settings: the pieces, whether texts are lower-cased, whether letters lose their accents.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_hub

from tfb2d.config import ConfigError
from tfb2d.teachers.mpnet import MPNetTextClassifierPreprocessor
from tfb2d.teachers.saved import FILE
from tfb2d.teachers.tokens import without_accents

PREPROCESSORS: dict[str, Any] = {  # of the WordPiece encoders that can be loaded, by Hugging Face's name
    "bert": keras_hub.models.BertTextClassifierPreprocessor,
    "distilbert": keras_hub.models.DistilBertTextClassifierPreprocessor,
    "mpnet": MPNetTextClassifierPreprocessor,
}


def family_of(preset: Path) -> str:
    """Returns Hugging Face's name of the encoder family in a folder, if it is one of `PREPROCESSORS`; else ""."""
    family = _json(preset / "config.json").get("model_type", "") if preset.is_dir() else ""
    return str(family) if family in PREPROCESSORS else ""


def preprocessor_of(folder: Path, family: str) -> Any:
    """Makes a KerasHub preprocessor with the tokenizer that a Hugging Face folder describes, of one of `PREPROCESSORS`.

    Raises ConfigError where a special token is not in the vocabulary, or as `read_settings` does.
    """
    preprocessor_class = PREPROCESSORS[family]
    settings = read_settings(folder)
    try:
        return preprocessor_class(preprocessor_class.tokenizer_cls(**settings))
    except ValueError as error:  # KerasHub's, of a special token that the vocabulary lacks
        raise ConfigError(f"{folder}: its vocabulary cannot be used: {error}") from error


def repair_accents(tokenizer: Any, preset: Path) -> None:
    """Makes a KerasHub preset's uncased tokenizer strip accents, if its vocabulary was made of texts without accents.

    KerasHub's uncased presets keep accents although their encoders were trained without: accented words are unknown to
    them. A saved teacher's own encoder keeps the setting that it was trained with.
    """
    made_here = (preset.parent / FILE).exists()
    if not isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer) or made_here:
        return
    if tokenizer.lowercase and not tokenizer.strip_accents:
        tokenizer.strip_accents = without_accents(tokenizer.get_vocabulary())


def read_settings(folder: Path) -> dict[str, Any]:
    """Reads a Hugging Face folder's `tokenizer_config.json`, `tokenizer.json` and `vocab.txt`; some may be missing.

    This follows Hugging Face's BERT: `tokenizer_config.json` counts before `tokenizer.json`, texts are lower-cased by
    default, and `strip_accents: null` means that accents are stripped if texts are lower-cased
    (https://huggingface.co/docs/transformers/model_doc/bert#transformers.BertTokenizer). Returns the arguments of
    KerasHub's tokenizer: `vocabulary` (a list of pieces), `lowercase`, `strip_accents`. Raises ConfigError where there
    is no vocabulary, or the tokenizer is of a kind that is not known here.
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
        raise ConfigError(f"{folder}: tokenize_chinese_chars is false; teachers separate Chinese characters")
    lowercase = bool(config.get("do_lower_case", normalizer.get("lowercase", True)))
    strip = config.get("strip_accents", normalizer.get("strip_accents"))
    strip = lowercase if strip is None else bool(strip)
    return {"vocabulary": _vocabulary(folder, whole), "lowercase": lowercase, "strip_accents": strip}


def _vocabulary(folder: Path, whole: dict[str, Any]) -> list[str]:
    path = folder / "vocab.txt"
    if path.is_file():
        return [line.rstrip() for line in re.split(r"\r?\n", path.read_text(encoding="utf-8").rstrip("\n"))]
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


def _by_id(path: Path, ids: dict[str, int], added: Sequence[dict[str, Any]]) -> list[str]:
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
    return [pieces.get(index, f"[no piece {index}]") for index in range(size)]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}
