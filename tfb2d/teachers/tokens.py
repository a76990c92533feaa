"""Cuts texts into tokens exactly as in the encoders' pre-training, where KerasHub's own tokenizers do not.

* Word pieces: KerasHub's tokenizer keeps accents by default, folds "ß" to "ss" and does not split at a no-break space. It
  does not know words of more than 100 bytes.
* Byte pairs: KerasHub 0.32 gives its pattern for words to the `tokenizers` library as a plain string, which matches
  nothing. So pairs are merged across the ends of words, which changes the tokens of scripts with combining marks.
* Sentence pieces of lower-case text (ALBERT): what lower-cased the text is no part of a SentencePiece file, and KerasHub
  reads that file alone. So "Café" is read as unknown, "af", unknown.

In word pieces and byte pairs a special token that is written in a text is cut like any other text, so a text cannot end its
row; KerasHub would make a special token of it.
"""

import hashlib
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras_hub
import tensorflow as tf

# What `teacher.json` says of a teacher that reads tokens as in pre-training. KerasHub cut word pieces for teachers without
# it, and byte pairs and uncased sentence pieces also for those with TOKENIZERS.
TOKENIZERS, OTHER_PIECES = "tokenizers", "tokenizers 2"


def token_function(tokenizer: Any, reference: bool) -> Callable[[Sequence[str]], Any]:
    """Returns the function from texts to token ids without special ones: a list of ids a text, or a `tf.RaggedTensor`.

    With `reference` texts are cut as in pre-training. Otherwise KerasHub cuts them, as for teachers that learnt so.
    """
    if isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        # Its eager calls use a Rust library, 3 times as fast as TensorFlow's form.
        return reference_byte_pairs(tokenizer) if reference else tokenizer
    if reference and isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
        return reference_word_pieces(tokenizer)
    # Other eager calls run in Python, 7 to 15 times slower than TensorFlow's form.
    cut = tf.function(tokenizer.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    prepare = lower_case(tokenizer) if reference and is_uncased(tokenizer) else list
    return lambda texts: cut(prepare(texts))


def cut_by(tokenizer: Any) -> str:
    """Returns what `teacher.json` says of a teacher with this tokenizer whose texts are cut as in pre-training."""
    other = isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer) or is_uncased(tokenizer)
    return OTHER_PIECES if other else TOKENIZERS


def tokenizer_hash(tokenizer: Any, reference: bool) -> str:
    """Returns a hash of all that token ids depend on: a tokenizer's settings and files, and who cuts the texts."""
    settings = {name: value for name, value in tokenizer.get_config().items() if name != "name"}  # Keras counts names
    if "unsplittable_tokens" in settings:  # of byte pairs; KerasHub lists a set, in another order in each process
        settings["unsplittable_tokens"] = sorted(settings["unsplittable_tokens"])
    how = OTHER_PIECES if reference and cut_by(tokenizer) == OTHER_PIECES else reference
    digest = hashlib.sha256(json.dumps([settings, how], sort_keys=True, default=str).encode())
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for path in sorted(Path(folder).iterdir()):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def reference_word_pieces(tokenizer: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    """Returns a function from texts to ids: BERT's words, with the pieces and settings of a KerasHub tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    model = models.WordPiece(
        {piece: index for index, piece in enumerate(tokenizer.get_vocabulary())},
        unk_token=tokenizer.oov_token,
        continuing_subword_prefix=tokenizer.suffix_indicator,
        max_input_chars_per_word=100,
    )
    reference = Tokenizer(model)
    reference.normalizer = normalizers.BertNormalizer(
        lowercase=tokenizer.lowercase, strip_accents=tokenizer.strip_accents
    )
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _ids_by(reference)


def reference_byte_pairs(tokenizer: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    """Returns a function from texts to ids: GPT-2's words, with the pairs and settings of a KerasHub tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    merges = [tuple(merge.split(" ")) for merge in tokenizer.merges if not merge.lstrip().startswith("#version:")]
    reference = Tokenizer(models.BPE(dict(tokenizer.vocabulary), merges))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=tokenizer.add_prefix_space)
    return _ids_by(reference)


def _ids_by(reference: Any) -> Callable[[Sequence[str]], list[list[int]]]:
    return lambda texts: [row.ids for row in reference.encode_batch_fast(list(texts), add_special_tokens=False)]


def lower_case(tokenizer: Any) -> Callable[[Sequence[str]], list[str]]:
    """Returns a function that brings texts into the form that an uncased tokenizer's pieces were made of.

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


def is_uncased(tokenizer: Any) -> bool:
    """Says whether a KerasHub tokenizer has a SentencePiece vocabulary in which no piece has a capital letter."""
    if not isinstance(tokenizer, keras_hub.tokenizers.SentencePieceTokenizer):
        return False
    return not any(character.isupper() for piece in _pieces(tokenizer) for character in piece)


def without_accents(pieces: Sequence[str]) -> bool:
    """Says whether no piece of a vocabulary has an accent: then it was made of texts without accents."""
    return not any(
        unicodedata.category(character) == "Mn"
        for piece in pieces
        if not piece.isascii()
        for character in unicodedata.normalize("NFD", piece)
    )


def _pieces(tokenizer: Any) -> list[str]:
    """Returns the pieces that may come of a text; others, such as <unk> and [SEP], are in brackets."""
    return [piece for piece in tokenizer.get_vocabulary() if not re.fullmatch(r"<.+>|\[.+\]", piece)]
