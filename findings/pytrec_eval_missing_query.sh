#!/usr/bin/env bash
# pytrec_eval: a query without an answer is left out of the mean, and ir-measures, which asks pytrec_eval, counts it as 0
#
# Version: pytrec_eval-terrier 0.5.11, ir-measures 0.4.3, Python 3.11
# A good guess: the figures that a library gives for judged queries have an entry for each judged query.
# What happens: `evaluate` returns the queries of the run alone. A query with an empty answer is 0, but one that is not in
#   the run is in no figure. So a search that answers its easy queries alone is better by the mean.
# For whom it matters: logs of answers leave out queries that found nothing. Give every judged query an answer, if an
#   empty one.
# Seen on 2026-11-29, two judged queries, one answered:
#   pytrec_eval: left out 1.0, empty 0.5
#   ir-measures: left out 0.5, empty 0.5
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pytrec_eval-terrier==0.5.11 ir-measures==0.4.3 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import ir_measures
import pytrec_eval

labels = {"easy": {"a": 1}, "hard": {"a": 1}}
left_out = {"easy": {"a": 1.0}}
empty = {"easy": {"a": 1.0}, "hard": {}}


def mean(run: dict) -> float:
    figures = pytrec_eval.RelevanceEvaluator(labels, {"ndcg"}).evaluate(run)
    return sum(figure["ndcg"] for figure in figures.values()) / len(figures)


measure = ir_measures.nDCG
by_wrapper = [ir_measures.calc_aggregate([measure], labels, run)[measure] for run in (left_out, empty)]
print(f"pytrec_eval: left out {mean(left_out)}, empty {mean(empty)}")
print(f"ir-measures: left out {by_wrapper[0]}, empty {by_wrapper[1]}")
assert (mean(left_out), mean(empty)) == (1.0, 0.5)
assert by_wrapper == [0.5, 0.5]
PYTHON
