#!/usr/bin/env bash
# KerasHub: the tokenizer of an uncased BERT's folder keeps accents, so accented words are unknown
#
# Version: keras-hub 0.32.0, keras 3.15.1, tensorflow 2.21.0, tensorflow-text 2.21.1, tokenizers 0.23.3, safetensors 0.8.0, Python 3.11
# A good guess: `from_preset` on a Hugging Face folder gives the token ids that the model was trained on.
# What happens: Hugging Face reads `strip_accents: null` as `do_lower_case`, so an uncased BERT strips accents. KerasHub
#   lower-cases and keeps them, and `café` becomes the unknown token.
# For whom it matters: every accented word of a text is lost to the model. Read the folder's own settings and pass
#   `strip_accents`.
# Seen on 2026-11-28:
#   tokenizers: good café -> [6, 5]
#   KerasHub:   good café -> [6, 1], and 1 is the unknown token
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras-hub==0.32.0 keras==3.15.1 tensorflow==2.21.0 tensorflow-text==2.21.1 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import keras_hub
from tokenizers import BertWordPieceTokenizer

folder = Path("bert")
folder.mkdir()
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "good"]
(folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
sizes = dict.fromkeys(("num_hidden_layers", "num_attention_heads"), 1) | {"hidden_size": 8, "intermediate_size": 8}
config = {"model_type": "bert", "vocab_size": len(words), "max_position_embeddings": 16, "type_vocab_size": 2, **sizes}
config |= {"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
(folder / "config.json").write_text(json.dumps(config))
settings = {"do_lower_case": True, "strip_accents": None, "tokenizer_class": "BertTokenizer"}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))

text = "good café"
usual = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True).encode(text, add_special_tokens=False).ids
keras_ids = [int(one) for one in keras_hub.models.BertTokenizer.from_preset(str(folder))(text)]
print(f"tokenizers: {text} -> {usual}")
print(f"KerasHub:   {text} -> {keras_ids}, and 1 is the unknown token")
assert usual == [6, 5]
assert keras_ids == [6, 1]
PYTHON
