#!/usr/bin/env bash
# bm25s: a query without a known word still retrieves documents
#
# Version: bm25s 0.3.16, NumPy 2.4.6, Python 3.11
# A good guess: a query whose words are in no document has no hits.
# What happens: it gets k documents, the last ones of the index first, each with the score 0.
# For whom it matters: fusion by rank (RRF) gives these documents full credit. Drop hits of score 0 before fusing.
# Seen on 2026-11-28:
#   documents [5, 4, 3, 2], scores [0.0, 0.0, 0.0, 0.0]
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check bm25s==0.3.16 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import bm25s

texts = ["red shoe", "blue shoe", "green hat", "black bag", "white sock", "grey scarf"]
retriever = bm25s.BM25()
retriever.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
query = bm25s.tokenize(["umbrella"], show_progress=False)
documents, scores = retriever.retrieve(query, k=4, show_progress=False)
print(f"documents {documents[0].tolist()}, scores {scores[0].tolist()}")
assert documents[0].tolist() == [5, 4, 3, 2]
assert scores[0].tolist() == [0.0] * 4
PYTHON
