"""Metrics with intervals, calibration, latency, and the report that sets teacher and student side by side.

- `stage.write_run_report` makes the report of a run: `run_scores` scores the splits, `results` computes the figures.
- `table` prints them, `page` makes the HTML page with `pictures` and `examples`.
- `scores`, `metrics` and `ranking` measure one model; `bootstrap` adds intervals and compares models.
- `headline` chooses the measure that a task goes by; `calibration` turns logits into probabilities.
- `bm25` and `contrasts` are what models are compared with: words alone, and words negated.
- `scorer.Scorer` runs an exported model; `batch` scores files with it, `labelled` evaluates it on labelled rows.
- `test_logits`, `record` and `recount` keep a run's logits, and compute its figures anew from them.
- `retrieval` measures searches over a catalogue.
"""
