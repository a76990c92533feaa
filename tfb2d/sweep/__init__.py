"""Ablations over a finished run's rows and logits: variants of the student, trained and compared.

- `axes` chooses what is varied, and `variants` makes the variants on each axis.
- `run_data` reads the run once for all of them; `training` trains each with each seed, in processes of its own.
- `results` compares them on the same rows and resamples; `curve` fits the learning curve.
- `table` and `page` show the result.
"""
