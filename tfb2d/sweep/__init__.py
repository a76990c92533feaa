"""Ablations over a finished run's rows and logits: variants of the student, trained and compared."""
