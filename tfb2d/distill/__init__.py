"""Distillation: logits on disk become the student's targets. Pure NumPy and Parquet; no model is loaded here."""
