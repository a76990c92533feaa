#!/usr/bin/env bash
# safetensors: of two NumPy readers for the same bytes, one reads bfloat16 and one does not
#
# Version: safetensors 0.8.0, ml_dtypes 0.6.0, NumPy 2.4.6, Python 3.11
# A good guess: `load` reads from bytes what `load_file` reads from a file.
# What happens: `save` and `save_file` write an array of ml_dtypes' bfloat16 under its right name, BF16. `load_file` gives it back.
#   `load` looks the name up in a table of its own that lacks it, and ends with KeyError: 'BF16', which also hides the
#   other arrays among the bytes.
# For whom it matters: whoever sends weights or embeddings over a network or keeps them in an object store, and tests with files.
#   Write the bytes to a file and take `load_file`, or save `array.view(np.uint16)` and view it back.
# Seen on 2026-11-29:
#   header of the bytes: BF16 [2, 3]
#   the file and the bytes are the same: True
#   load_file: bfloat16 [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
#   load: KeyError 'BF16'
#   stored as uint16, loaded and viewed: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
# The script ends with an error if this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 ml_dtypes==0.6.0 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

half = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
arrays = {"half": half, "whole": np.arange(2, dtype=np.float32)}
content = save(arrays)
save_file(arrays, "both.safetensors")
length = int.from_bytes(content[:8], "little")
header = json.loads(content[8 : 8 + length])["half"]
print("header of the bytes:", header["dtype"], header["shape"])
same = Path("both.safetensors").read_bytes() == content
print("the file and the bytes are the same:", same)
by_file = load_file("both.safetensors")["half"]
print("load_file:", by_file.dtype, by_file.ravel().tolist())
try:
    load(content)
    seen = "none"
except KeyError as error:
    seen = f"KeyError {error}"
print("load:", seen)
back = load(save({"half": half.view(np.uint16)}))["half"].view(ml_dtypes.bfloat16).ravel().tolist()
print("stored as uint16, loaded and viewed:", back)
assert header["dtype"] == "BF16" and same
assert by_file.dtype == ml_dtypes.bfloat16 and by_file.tolist() == half.tolist()
assert seen == "KeyError 'BF16'"
assert back == [0, 1, 2, 3, 4, 5]
PYTHON
