#!/usr/bin/env bash
# KerasHub: a byte-pair tokenizer called with strings does not split texts into words first
#
# Version: keras-hub 0.32.0, keras 3.15.1, tensorflow 2.21.0, tensorflow-text 2.21.1, tokenizers 0.23.3, Python 3.11
# A good guess: a RobertaTokenizer gives the ids that the `tokenizers` library gives by the same vocabulary and merges, and the
#   same in a tf.data pipeline and outside.
# What happens: outside of a pipeline KerasHub calls the `tokenizers` library, and passes its pattern for words as a plain string,
#   which occurs in no text. So pairs are merged across the ends of words. In a pipeline they are not.
# For whom it matters: scripts with combining marks, which end a word for GPT-2's pattern, get other tokens than in pre-training;
#   training in a pipeline and predicting outside of it read different tokens.
# Seen on 2026-11-29:
#   tokenizers:         न् -> ['à', '¤', '¨', 'à', '¥', 'į']
#   KerasHub, eager:    न् -> ['à', '¤', '¨à', '¥', 'į']
#   KerasHub, tf.data:  न् -> ['à', '¤', '¨', 'à', '¥', 'į']
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras-hub==0.32.0 keras==3.15.1 tensorflow==2.21.0 tensorflow-text==2.21.1 tokenizers==0.23.3 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import keras_hub
import tensorflow as tf
from tokenizers import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel

special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
pieces = [*special, *sorted(ByteLevel.alphabet()), "¨à"]  # the end of न and the beginning of the next letter
vocabulary = {piece: number for number, piece in enumerate(pieces)}
library = ByteLevelBPETokenizer(vocabulary, [("¨", "à")])
keras = keras_hub.models.RobertaTokenizer(vocabulary, ["¨ à"])

text = "न्"  # the letter n, then the sign that it has no vowel
usual = library.encode(text).tokens
eager = [pieces[int(one)] for one in keras(text)]
(row,) = tf.data.Dataset.from_tensors(text).map(keras)
pipeline = [pieces[int(one)] for one in row]
print(f"tokenizers:         {text} -> {usual}")
print(f"KerasHub, eager:    {text} -> {eager}")
print(f"KerasHub, tf.data:  {text} -> {pipeline}")
assert usual == pipeline == ["à", "¤", "¨", "à", "¥", "į"]
assert eager == ["à", "¤", "¨à", "¥", "į"]
PYTHON
