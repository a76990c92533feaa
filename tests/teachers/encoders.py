"""Tiny encoders with random weights, one of each family, saved as KerasHub presets with a vocabulary of a few words."""

import io
from collections.abc import Sequence
from pathlib import Path

import keras
import keras_hub
import sentencepiece

from tfb2d.teachers import electra, mpnet

WORDS = [
    "the",
    "good",
    "bad",
    "film",
    "red",
    "shoe",
    "blue",
    "hat",
    "query",
    "title",
    "of",
    "and",
    "not",
    "fine",
    "poor",
]
SHAPE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64, "max_sequence_length": 32}
FAMILIES = (
    "bert",
    "roberta",
    "distil_bert",
    "electra",
    "mpnet",
    "albert",
    "deberta_v3",
    "xlm_roberta",
    "f_net",
    "roformer_v2",
)


def save_encoder(family: str, folder: Path, pieces: Sequence[str] = (), lowercase: bool = True) -> Path:
    """Writes a preset (encoder and tokenizer, no head) and gives its folder.

    Args:
      family: one of FAMILIES.
      folder: where it goes.
      pieces: a WordPiece family's vocabulary, in place of WORDS and letters.
      lowercase: whether a WordPiece tokenizer lower-cases; none is told to strip accents, as in KerasHub's presets.
    """
    keras.utils.set_random_seed(7)
    models = keras_hub.models
    pieces = list(pieces or word_pieces())
    if family == "mpnet":
        pieces = mpnet_pieces(pieces)
    if family == "bert":
        backbone = models.BertBackbone(vocabulary_size=len(pieces), **SHAPE)
        preprocessor = models.BertTextClassifierPreprocessor(models.BertTokenizer(pieces, lowercase=lowercase))
    elif family == "roberta":
        vocabulary, merges = _byte_pairs()
        backbone = models.RobertaBackbone(vocabulary_size=len(vocabulary), **SHAPE)
        preprocessor = models.RobertaTextClassifierPreprocessor(models.RobertaTokenizer(vocabulary, merges))
    elif family == "distil_bert":
        backbone = models.DistilBertBackbone(vocabulary_size=len(pieces), **SHAPE)
        preprocessor = models.DistilBertTextClassifierPreprocessor(
            models.DistilBertTokenizer(pieces, lowercase=lowercase)
        )
    elif family == "electra":
        backbone = models.ElectraBackbone(vocab_size=len(pieces), embedding_dim=8, **SHAPE)
        preprocessor = electra.ElectraTextClassifierPreprocessor(models.ElectraTokenizer(pieces, lowercase=lowercase))
    elif family == "mpnet":
        backbone = mpnet.MPNetBackbone(vocabulary_size=len(pieces), **SHAPE)
        preprocessor = mpnet.MPNetTextClassifierPreprocessor(
            mpnet.MPNetTokenizer(pieces, lowercase, strip_accents=False)
        )
    elif family == "albert":
        tokenizer = models.AlbertTokenizer(_sentence_pieces("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))
        backbone = models.AlbertBackbone(tokenizer.vocabulary_size(), embedding_dim=8, **SHAPE)
        preprocessor = models.AlbertTextClassifierPreprocessor(tokenizer)
    elif family == "deberta_v3":
        tokenizer = models.DebertaV3Tokenizer(_sentence_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
        backbone = models.DebertaV3Backbone(tokenizer.vocabulary_size(), bucket_size=8, **SHAPE)
        preprocessor = models.DebertaV3TextClassifierPreprocessor(tokenizer)
    elif family == "xlm_roberta":
        tokenizer = models.XLMRobertaTokenizer(_sentence_pieces("", "<unk>", "<s>", "</s>"))
        backbone = models.XLMRobertaBackbone(vocabulary_size=tokenizer.vocabulary_size(), **SHAPE)
        preprocessor = models.XLMRobertaTextClassifierPreprocessor(tokenizer)
    elif family == "f_net":
        tokenizer = models.FNetTokenizer(_sentence_pieces("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))
        shape = {name: value for name, value in SHAPE.items() if name != "num_heads"}
        backbone = models.FNetBackbone(tokenizer.vocabulary_size(), **shape)
        preprocessor = models.FNetTextClassifierPreprocessor(tokenizer)
    else:
        shape = {name: value for name, value in SHAPE.items() if name != "max_sequence_length"}
        backbone = models.RoformerV2Backbone(vocabulary_size=len(pieces), head_size=16, **shape)
        preprocessor = models.RoformerV2TextClassifierPreprocessor(
            models.RoformerV2Tokenizer(pieces, lowercase=lowercase)
        )
    backbone.save_to_preset(str(folder))
    preprocessor.save_to_preset(str(folder))
    return folder


def word_pieces() -> list[str]:
    """BERT's special tokens, WORDS, and letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]


def mpnet_pieces(pieces: Sequence[str] = ()) -> list[str]:
    """MPNet's special tokens stand around those that it has from BERT."""
    return ["<s>", "<pad>", "</s>", "<unk>", *(pieces or word_pieces()), "<mask>"]


def _byte_pairs() -> tuple[dict[str, int], list[str]]:
    """A vocabulary of letters and of the pairs that WORDS begin with; "Ġ" stands for a space."""
    merges = sorted({f"Ġ {word[0]}" for word in WORDS} | {f"{word[0]} {word[1]}" for word in WORDS if len(word) > 1})
    tokens = ["<s>", "<pad>", "</s>", "<mask>", "Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: number for number, token in enumerate(tokens)}, merges


def _sentence_pieces(pad: str, unknown: str, start: str, end: str, mask: str = "") -> bytes:
    """A SentencePiece model of WORDS; without `pad`, as in XLM-R's file, there is no such piece."""
    model = io.BytesIO()
    ids = iter(range(4))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), *WORDS] * 3),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=next(ids) if pad else -1,
        unk_id=next(ids),
        bos_id=next(ids),
        eos_id=next(ids),
        pad_piece=pad or "<pad>",
        unk_piece=unknown,
        bos_piece=start,
        eos_piece=end,
        user_defined_symbols=[mask] if mask else [],
        minloglevel=2,
    )
    return model.getvalue()
