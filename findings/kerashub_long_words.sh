#!/usr/bin/env bash
# KerasHub and TensorFlow Text: a word of more than 100 bytes is unknown; for the `tokenizers` library it is 100 characters
#
# Version: keras-hub 0.32.0, keras 3.15.1, tensorflow 2.21.0, tensorflow-text 2.21.1, tokenizers 0.23.3, Python 3.11
# A good guess: two WordPiece tokenizers with the same vocabulary give the same ids; their limit for a word, 100 in both, is of no
#   account in real texts.
# What happens: TensorFlow Text counts bytes, tokenizers counts characters. Thai is written without spaces between words and with
#   3 bytes a character. A clause of 34 characters is one word, and becomes one unknown token.
# For whom it matters: multilingual BERTs, whose vocabulary has Thai letters: titles of a few words are read, longer ones are all
#   the same to the model. TensorFlow Text has an argument, `max_bytes_per_word`; KerasHub does not pass it on.
# Seen on 2026-11-29 (number of tokens of the beginning of a sentence):
#   33 characters,  99 bytes: tokenizers 33, KerasHub 33
#   34 characters, 102 bytes: tokenizers 34, KerasHub 1, the unknown one
#   51 characters, 153 bytes: tokenizers 51, KerasHub 1, the unknown one
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras-hub==0.32.0 keras==3.15.1 tensorflow==2.21.0 tensorflow-text==2.21.1 tokenizers==0.23.3 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
from pathlib import Path

import keras_hub
from tokenizers import BertWordPieceTokenizer

# I like this film very much, because the actors are good and the songs are beautiful.
sentence = "ฉันชอบหนังเรื่องนี้มากเพราะนักแสดงเก่งและเพลงไพเราะ"
letters = sorted(set(sentence))
pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
Path("vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
library = BertWordPieceTokenizer("vocab.txt", lowercase=False, strip_accents=False)
keras = keras_hub.models.BertTokenizer(pieces, lowercase=False)
for length in (33, 34, 51):
    text = sentence[:length]
    usual = library.encode(text, add_special_tokens=False).ids
    own = [int(one) for one in keras(text)]
    unknown = ", the unknown one" if own == [1] else ""
    print(f"{length} characters, {len(text.encode()):3d} bytes: tokenizers {len(usual)}, KerasHub {len(own)}{unknown}")
    assert len(usual) == length
    assert own == (usual if length == 33 else [1])
PYTHON
