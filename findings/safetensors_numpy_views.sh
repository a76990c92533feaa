#!/usr/bin/env bash
# safetensors: NumPy views come back as other values
#
# Version: safetensors 0.8.0, NumPy 2.4.6, Python 3.11
# A good guess: `save` writes the values of an array, whatever its memory layout, or raises an error.
# What happens: it writes the memory that the view stands on under the view's shape. A transposed or reversed array is
#   read back wrong.
# For whom it matters: transposed kernels are the usual case, as scikit-learn and Keras hold them the two ways. Wrap
#   every array in `np.ascontiguousarray`.
# Seen on 2026-11-28:
#   transposed: as saved False, after ascontiguousarray True
#   reversed:   as saved False, after ascontiguousarray True
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

array = np.arange(6, dtype=np.float32).reshape(2, 3)
seen = {}
for name, view in (("transposed", array.T), ("reversed", array[::-1])):
    plain = load(save({"view": view}))["view"]
    copied = load(save({"view": np.ascontiguousarray(view)}))["view"]
    seen[name] = bool(np.array_equal(plain, view)), bool(np.array_equal(copied, view))
    print("{:11s} as saved {}, after ascontiguousarray {}".format(f"{name}:", *seen[name]))
assert seen == {"transposed": (False, True), "reversed": (False, True)}
PYTHON
