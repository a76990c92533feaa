#!/usr/bin/env bash
# FAISS: QT_8bit_direct_signed cuts the query to whole numbers, too, but only at some widths
#
# Version: faiss-cpu 1.15.1, NumPy 2.4.6, Python 3.11, x86-64 with AVX2
# A good guess: a scalar quantiser quantises what is stored; the query stays as it is.
# What happens: at 32, 64 and 128 numbers a unit query scores 0 against every vector, and the same row is found for all
#   queries. At 16 and 48 the same code finds each vector with the right score.
# For whom it matters: int8 embeddings are stored times 127; a query that is not multiplied, too, finds nothing at the
#   usual widths, and a test at width 16 does not see it. Multiply and round the query, and divide the scores by 127 * 127.
# Seen on 2026-11-28:
#   width 16: itself first 1.000, mean score 127.0; query times 127: 1.000
#   width 32: itself first 0.005, mean score 0.0; query times 127: 1.000
#   width 48: itself first 1.000, mean score 127.0; query times 127: 1.000
#   width 64: itself first 0.005, mean score 0.0; query times 127: 1.000
#   width 128: itself first 0.005, mean score 0.0; query times 127: 1.000
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

for width in (16, 32, 48, 64, 128):
    vectors = np.random.default_rng(0).normal(size=(200, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT)
    index.add(np.round(127 * vectors))
    scores, found = index.search(vectors, 1)
    scaled = index.search(np.round(127 * vectors), 1)[1]
    itself, score = float(np.mean(found[:, 0] == np.arange(200))), float(scores.mean())
    right = float(np.mean(scaled[:, 0] == np.arange(200)))
    print(f"width {width}: itself first {itself:.3f}, mean score {score:.1f}; query times 127: {right:.3f}")
    assert right == 1
    assert (itself, round(score)) == ((1.0, 127) if width in (16, 48) else (0.005, 0))
PYTHON
