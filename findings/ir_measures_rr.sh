#!/usr/bin/env bash
# ir-measures: RR and RR@10 of the same three documents differ
#
# Version: ir-measures 0.4.3, pytrec_eval-terrier 0.5.11, Python 3.11
# A good guess: a cut-off at 10 changes nothing for a query with three documents.
# What happens: with equal scores RR is 1/3 and RR@10 is 1: two providers compute them and break ties in opposite
#   directions.
# For whom it matters: int8 and saturated scores tie often. Take both figures from one measure, or break ties yourself.
# Seen on 2026-11-28:
#   RR 0.333, RR@10 1.000, nDCG@10 0.500
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check ir-measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import ir_measures
from ir_measures import RR, nDCG

labels = {"query": {"a": 1, "b": 0, "c": 0}}
scores = {"query": {"a": 0.5, "b": 0.5, "c": 0.5}}
found = ir_measures.calc_aggregate([RR, RR @ 10, nDCG @ 10], labels, scores)
print(f"RR {found[RR]:.3f}, RR@10 {found[RR @ 10]:.3f}, nDCG@10 {found[nDCG @ 10]:.3f}")
assert abs(found[RR] - 1 / 3) < 1e-9
assert found[RR @ 10] == 1
assert found[nDCG @ 10] == 0.5
PYTHON
