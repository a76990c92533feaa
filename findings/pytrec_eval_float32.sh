#!/usr/bin/env bash
# pytrec_eval: the same order of documents has another reciprocal rank as logits than as probabilities
#
# Version: pytrec_eval-terrier 0.5.11, Python 3.11
# A good guess: scores are Python floats, and a ranking measure reads their order alone. A sigmoid keeps the order.
# What happens: scores are compared as float32. The probabilities of the logits 20 and 19 differ as Python's floats and
#   are both 1 in float32. Equal scores are then ordered by document id, the larger first, against the scores.
# For whom it matters: a calibrated relevance model is sure of many titles. Give the measures logits, not probabilities.
# Seen on 2026-11-29:
#   logits 20 and 19: reciprocal rank 1.0
#   their probabilities 0.9999999979388463 and 0.9999999943972036: reciprocal rank 0.5
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pytrec_eval-terrier==0.5.11 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import math

import pytrec_eval

evaluator = pytrec_eval.RelevanceEvaluator({"query": {"a": 1, "b": 0}}, {"recip_rank"})


def reciprocal_rank(right: float, wrong: float) -> float:
    assert right > wrong
    return evaluator.evaluate({"query": {"a": right, "b": wrong}})["query"]["recip_rank"]


logits = 20.0, 19.0
probabilities = [1 / (1 + math.exp(-logit)) for logit in logits]
by_logit, by_probability = reciprocal_rank(*logits), reciprocal_rank(*probabilities)
print(f"logits 20 and 19: reciprocal rank {by_logit}")
print(f"their probabilities {probabilities[0]} and {probabilities[1]}: reciprocal rank {by_probability}")
assert (by_logit, by_probability) == (1.0, 0.5)
PYTHON
