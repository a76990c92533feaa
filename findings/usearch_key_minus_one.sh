#!/usr/bin/env bash
# USearch: the key -1 is taken and never found again
#
# Version: usearch 2.26.6, NumPy 2.4.6, Python 3.11
# A good guess: any signed 64-bit key that `add` accepts can be found, or `add` raises an error.
# What happens: `add(-1, ...)` succeeds and the index counts one vector, but no search returns it: that value is
#   reserved. The key -2 is found, as a large unsigned number.
# For whom it matters: keys made by hashing to signed 64 bits lose one value without an error, and all negative ones
#   change.
# Seen on 2026-11-28:
#   add(-1): length 1, search finds []
#   add(-2): length 2, search finds [18446744073709551614]
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check usearch==2.26.6 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import numpy as np
from usearch.index import Index

vectors = np.eye(4, dtype=np.float32)
index = Index(ndim=4, metric="cos", dtype="f32")
found = {}
for key in (-1, -2):
    index.add(key, vectors[-key])
    found[key] = len(index), [int(one) for one in index.search(vectors[-key], 1).keys]
    print(f"add({key}): length {found[key][0]}, search finds {found[key][1]}")
assert found == {-1: (1, []), -2: (2, [2**64 - 2])}
PYTHON
