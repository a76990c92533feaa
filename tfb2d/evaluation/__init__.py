"""Metrics with intervals, calibration, latency, and the report that sets teacher and student side by side."""
