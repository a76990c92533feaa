#!/usr/bin/env bash
# FAISS: QT_8bit_direct gives every unit vector the score 0
#
# Version: faiss-cpu 1.15.1, NumPy 2.4.6, Python 3.11
# A good guess: an 8-bit scalar quantiser that says it needs no training stores vectors with a small error.
# What happens: `QT_8bit_direct` keeps the whole part of a number, so unit-length vectors become zeros. Nothing warns.
#   `QT_8bit_direct_signed` ranks well and returns scores of another scale. `QT_8bit` does as expected after training.
# For whom it matters: whoever stores int8 embeddings must multiply them by 127 first, or train `QT_8bit`.
# Seen on 2026-11-28:
#   QT_8bit: trained False, itself first 1.000, mean score 1.00
#   QT_8bit_direct: trained True, itself first 0.005, mean score 0.00
#   QT_8bit_direct_signed: trained True, itself first 1.000, mean score 1.69
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import faiss
import numpy as np

vectors = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
seen = {}
for name in ("QT_8bit", "QT_8bit_direct", "QT_8bit_direct_signed"):
    kind = getattr(faiss.ScalarQuantizer, name)
    index = faiss.IndexScalarQuantizer(16, kind, faiss.METRIC_INNER_PRODUCT)
    trained = index.is_trained
    if not trained:
        index.train(vectors)
    index.add(vectors)
    scores, ids = index.search(vectors, 1)
    seen[name] = trained, float((ids[:, 0] == np.arange(200)).mean()), float(scores.mean())
    print("{}: trained {}, itself first {:.3f}, mean score {:.2f}".format(name, *seen[name]))
assert seen["QT_8bit"][1] == 1 and abs(seen["QT_8bit"][2] - 1) < 0.01
assert seen["QT_8bit_direct"][0] and seen["QT_8bit_direct"][1] < 0.05 and seen["QT_8bit_direct"][2] == 0
assert seen["QT_8bit_direct_signed"][1] == 1 and abs(seen["QT_8bit_direct_signed"][2] - 1.69) < 0.05
PYTHON
