#!/usr/bin/env bash
# KerasHub: the same byte-pair tokenizer is saved as other bytes in each process
#
# Version: keras-hub 0.32.0, keras 3.15.1, tensorflow 2.21.0, tensorflow-text 2.21.1, Python 3.11
# A good guess: two presets that were saved from the same RobertaTokenizer have the same tokenizer.json, so that a digest of the
#   folder says whether a model has changed.
# What happens: the configuration lists the special tokens, `unsplittable_tokens`, in the order of a set of strings. Python orders such a
#   set by a hash that differs from process to process. The tokens' ids do not change.
# For whom it matters: caches and build systems that know a model by a digest of its files or of its configuration make work anew.
# Seen on 2026-11-29:
#   6 processes: 5 orders of the same 4 tokens; with PYTHONHASHSEED=0: 1   (the first number depends on chance)
# The script ends with an error if all processes write the same order.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check keras-hub==0.32.0 keras==3.15.1 tensorflow==2.21.0 tensorflow-text==2.21.1 numpy==2.4.6
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3
cat > tokens.py <<'PYTHON'
import json
import pathlib
import keras_hub

pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "ab"]
tokenizer = keras_hub.models.RobertaTokenizer({piece: number for number, piece in enumerate(pieces)}, ["a b"])
tokenizer.save_to_preset("preset")
saved = json.loads(pathlib.Path("preset/tokenizer.json").read_text())["config"]["unsplittable_tokens"]
print(*saved)
PYTHON
for _ in 1 2 3 4 5 6; do bin/python tokens.py 2>/dev/null; done > drawn
for _ in 1 2; do PYTHONHASHSEED=0 bin/python tokens.py 2>/dev/null; done > fixed
orders="$(sort -u drawn | wc -l)"
members="$(tr ' ' '\n' < drawn | sort -u | wc -l)"
echo "6 processes: $orders orders of the same $members tokens; with PYTHONHASHSEED=0: $(sort -u fixed | wc -l)"
test "$orders" -gt 1 && test "$members" -eq 4 && test "$(sort -u fixed | wc -l)" -eq 1
